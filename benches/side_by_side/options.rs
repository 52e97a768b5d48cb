//! What is written on the command line.

use crate::Result;
use crate::placement::Placement;

const HELP: &str = "\
Compares the channel layer with the raw commands of the same server, which it starts itself.

cargo bench --bench side_by_side -- [OPTIONS]

  --quick             fewer rounds: shows that everything runs, in 20 s or so
  --json              one JSON object in place of the table
  --only MEASURE      one measure: lone-send, kinds, in-flight, blocked-receive, throughput, sealing, several-hosts,
                      unix-socket, inbox, slow-mailbox, group-send, last-mailbox, group-add, joins, checks, idle,
                      memory, memory-layer
  --placement WHERE   one placement: two, one, free
  --unix              over a unix socket in place of TCP
  --full-idle         counts idle commands at the default lease (42 s more) in place of a short one";

#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) json: bool,
    pub(crate) unix: bool,
    pub(crate) full_idle: bool,
    only: Option<String>,
    placement: Option<Placement>,
}

impl Options {
    pub(crate) fn from_arguments() -> Result<Self> {
        let mut options = Self::default();
        let mut is_bench = false;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = |option: &str| arguments.next().ok_or(format!("option {option} wants a value"));
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                "--unix" => options.unix = true,
                "--full-idle" => options.full_idle = true,
                "--only" => options.only = Some(crate::measures::check_name(value("--only")?)?),
                "--placement" => options.placement = Some(value("--placement")?.parse()?),
                "--bench" => is_bench = true,
                "--help" | "-h" => {
                    println!("{HELP}");
                    std::process::exit(0);
                }
                unknown => return Err(format!("unknown option {unknown:?}; --help lists them").into()),
            }
        }
        // `cargo test --benches` runs this too, without `--bench`.
        options.quick |= !is_bench;
        Ok(options)
    }

    pub(crate) fn wants(&self, placement: Placement) -> bool {
        self.placement.is_none_or(|wanted| wanted == placement)
    }

    pub(crate) fn wants_measure(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|wanted| wanted == name)
    }
}
