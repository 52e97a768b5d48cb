//! On which cores the server and the programs run. A wake-up from one core to another costs more than most commands,
//! so figures of different placements are not to be compared.

use std::fmt;
use std::process::{Command, Stdio};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Placement {
    /// The server on one core, the programs on another.
    Two,
    /// Both on one core.
    One,
    /// Wherever the system puts them.
    Free,
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "two" => Ok(Self::Two),
            "one" => Ok(Self::One),
            "free" => Ok(Self::Free),
            _ => Err(format!("option --placement: {name:?} is none of two, one, free")),
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Two => "two",
            Self::One => "one",
            Self::Free => "free",
        })
    }
}

/// The cores that this process may use and can pin others to.
#[derive(Debug)]
pub(crate) struct Cores {
    first: Option<u32>,
    second: Option<u32>,
}

impl Cores {
    pub(crate) fn available() -> Self {
        let taskset = Command::new("taskset").arg("--version").stdout(Stdio::null()).status();
        let mut cores = match taskset {
            Ok(status) if status.success() => allowed(),
            _ => Vec::new(),
        }
        .into_iter();
        Self { first: cores.next(), second: cores.next() }
    }

    pub(crate) fn placements(&self) -> Vec<Placement> {
        match (self.first, self.second) {
            (Some(_), Some(_)) => vec![Placement::Two, Placement::One],
            (Some(_), None) => vec![Placement::One],
            _ => vec![Placement::Free],
        }
    }

    /// Returns the words of a command line that put the server on its core, in each placement.
    pub(crate) fn of_server(&self) -> Vec<String> {
        pinning(self.first)
    }

    /// Starts a program that uses the server.
    pub(crate) fn client(&self, placement: Placement, program: &str) -> Command {
        let core = match placement {
            Placement::Two => self.second,
            Placement::One => self.first,
            Placement::Free => None,
        };
        pinned(core, program)
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.second) {
            (Some(first), Some(second)) => {
                write!(
                    f,
                    "two: the server on core {first}, the programs on core {second}; one: both on core {first}"
                )
            }
            (Some(first), None) => write!(f, "one: the server and the programs on core {first}"),
            _ => f.write_str("free: not pinned, for `taskset` is not on PATH"),
        }
    }
}

fn pinned(core: Option<u32>, program: &str) -> Command {
    let mut words = pinning(core);
    words.push(program.to_owned());
    let (first, rest) = words.split_at(1);
    let mut command = Command::new(first.concat());
    command.args(rest);
    command
}

fn pinning(core: Option<u32>) -> Vec<String> {
    core.map(|core| vec!["taskset".to_owned(), "-c".to_owned(), core.to_string()])
        .into_iter()
        .flatten()
        .collect()
}

/// The cores that this process may run on, as Linux tells them: `0-3,6`.
fn allowed() -> Vec<u32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
    });
    ranges.flatten().collect()
}
