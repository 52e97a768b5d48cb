//! `scripts`: what the engine runs on servers, for those who call it from any client.

use asgi_redis::scripts::{Script, Slot, SlotKind, all, get};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::manifest::Described;
use super::options::LayerOptions;
use super::outcome::{Failure, Status};
use super::output;

#[derive(Args, Debug)]
pub(crate) struct Scripts {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print each script's name, SHA, slots and replies. What `scripts` alone does; with --json, the manifest of dist/.
    List,
    /// Put the scripts on a server and print their SHAs.
    Load,
    /// Print a script as the server gets it, with its includes.
    Show {
        /// The script's name, such as push.
        name: String,
    },
    /// Print the file and line from which a line of a script comes.
    Locate {
        /// The script's name, such as push.
        name: String,
        /// The line that the server named, counted from 1.
        line: u32,
    },
}

impl Scripts {
    pub(crate) async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        match self.command.unwrap_or(Command::List) {
            Command::List => list(options.json)?,
            Command::Load => load(options).await?,
            Command::Show { name } => show(script(&name)?, options.json)?,
            Command::Locate { name, line } => locate(script(&name)?, line, options.json)?,
        }
        Ok(Status::Done)
    }
}

fn script(name: &str) -> Result<&'static Script, Failure> {
    get(name).ok_or_else(|| {
        let known: Vec<&str> = all().iter().map(|script| script.name()).collect();
        Failure::wrong_use(format!("there is no script {name:?}; the scripts are {}", known.join(", ")))
    })
}

fn list(as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::json(&all().iter().copied().map(Described::from).collect::<Vec<_>>());
    }
    for (number, script) in all().iter().enumerate() {
        let space = if number == 0 { "" } else { "\n" };
        output::line(&format!("{space}{}  {}\n  {}", script.name(), script.sha(), indented(script.doc())))?;
        let places: Vec<String> = script.slots().iter().map(place).collect();
        let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or_default();
        let place_width = widest(&mut places.iter().map(String::len));
        let name_width = widest(&mut script.slots().iter().map(|slot| slot.name().len()));
        for (slot, place) in script.slots().iter().zip(&places) {
            let (name, ty, text) = (slot.name(), slot.ty(), slot.text());
            output::line(&format!("  {place:place_width$}  {name:name_width$}  [{ty}]  {text}"))?;
        }
        for reply in script.reply() {
            output::line(&format!("  reply: {}", indented(reply)))?;
        }
    }
    Ok(())
}

fn place(slot: &Slot) -> String {
    let list = match slot.kind() {
        SlotKind::Key => "KEYS",
        SlotKind::Argument => "ARGV",
    };
    let more = if slot.is_variadic() { "..." } else { "" };
    format!("{list}[{}{more}]", slot.index())
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}

#[derive(Serialize)]
struct Loaded {
    name: &'static str,
    sha: &'static str,
}

async fn load(options: &LayerOptions) -> Result<(), Failure> {
    // A layer that connects loads what its server does not have.
    options.with_servers(async |_| Ok(())).await?;
    let loaded = all().iter().map(|script| Loaded { name: script.name(), sha: script.sha() });
    if options.json {
        return output::json(&loaded.collect::<Vec<_>>());
    }
    for Loaded { name, sha } in loaded {
        output::line(&format!("{sha}  {name}"))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Shown {
    name: &'static str,
    sha: &'static str,
    source: &'static str,
}

fn show(script: &'static Script, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::json(&Shown { name: script.name(), sha: script.sha(), source: script.source() });
    }
    output::text(script.source())
}

#[derive(Serialize)]
struct Located {
    file: &'static str,
    line: u32,
}

fn locate(script: &'static Script, line: u32, as_json: bool) -> Result<(), Failure> {
    let Some((file, line)) = script.locate(line) else {
        let lines = script.source().lines().count();
        return Err(Failure::wrong_use(format!(
            "script {} has no line {line}; it has {lines}",
            script.name()
        )));
    };
    if as_json {
        return output::json(&Located { file, line });
    }
    output::line(&format!("{file}:{line}"))
}
