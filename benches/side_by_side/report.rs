//! The figures as a table, or as one JSON object.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::compare::{Compared, Ratio, median};
use crate::meter::Slice;
use crate::options::Options;
use crate::placement::{Cores, Placement};
use crate::server::Server;

/// One figure. Times are in µs, unless the measure's name says otherwise; what is unknown is absent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    placement: Placement,
    measure: String,
    beside: String,
    ours: Option<f64>,
    floor: Option<f64>,
    ratio: Option<f64>,
    /// The ends of the middle half of the rounds' ratios.
    ratio_from: Option<f64>,
    ratio_to: Option<f64>,
    goal: Option<Goal>,
    met: Option<bool>,
    commands_per_message: Option<f64>,
    reads_per_message: Option<f64>,
    server_us_per_message: Option<f64>,
    floor_server_us_per_message: Option<f64>,
    client_us_per_message: Option<f64>,
    floor_client_us_per_message: Option<f64>,
}

/// What the ratio should be, or the figure itself where there is no ratio.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
        }
    }
}

impl Line {
    pub(crate) fn new(placement: Placement, measure: &str, beside: &str) -> Self {
        Self {
            placement,
            measure: measure.to_owned(),
            beside: beside.to_owned(),
            ours: None,
            floor: None,
            ratio: None,
            ratio_from: None,
            ratio_to: None,
            goal: None,
            met: None,
            commands_per_message: None,
            reads_per_message: None,
            server_us_per_message: None,
            floor_server_us_per_message: None,
            client_us_per_message: None,
            floor_client_us_per_message: None,
        }
    }

    /// A figure of the layer beside that of raw commands, and what the slices cost.
    pub(crate) fn compare(self, ours: &[Slice], floor: &[Slice], figure: impl Fn(&Slice) -> f64) -> Self {
        let Compared { ours: our_figure, floor: floor_figure, ratio } = Compared::new(ours, floor, figure);
        Self {
            floor_server_us_per_message: known(median(floor, Slice::server_us_per_message)),
            floor_client_us_per_message: known(median(floor, Slice::client_us_per_message)),
            ..self.ours(our_figure).floor(floor_figure).ratio(ratio).costs(ours)
        }
    }

    pub(crate) fn ours(self, figure: f64) -> Self {
        Self { ours: known(figure), ..self }
    }

    pub(crate) fn floor(self, figure: f64) -> Self {
        Self { floor: known(figure), ..self }
    }

    pub(crate) fn ratio(self, ratio: Ratio) -> Self {
        Self { ratio: known(ratio.median), ratio_from: known(ratio.low), ratio_to: known(ratio.high), ..self }
    }

    pub(crate) fn costs(self, ours: &[Slice]) -> Self {
        Self {
            commands_per_message: known(median(ours, Slice::commands_per_message)),
            reads_per_message: known(median(ours, Slice::reads_per_message)),
            server_us_per_message: known(median(ours, Slice::server_us_per_message)),
            client_us_per_message: known(median(ours, Slice::client_us_per_message)),
            ..self
        }
    }

    pub(crate) fn goal(self, goal: Option<Goal>) -> Self {
        let met = goal.zip(self.ratio.or(self.ours)).map(|(goal, figure)| goal.is_met(figure));
        Self { goal, met, ..self }
    }
}

fn known(figure: f64) -> Option<f64> {
    figure.is_finite().then_some(figure)
}

/// What is printed, while it comes.
pub(crate) struct Report {
    json: Option<serde_json::Value>,
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn start(options: &Options, server: &Server, cores: &Cores) -> Result<Self> {
        let connection = if options.unix { "unix socket" } else { "TCP on loopback" };
        let placements = cores.to_string();
        if options.json {
            let head = serde_json::json!({
                "server": server.version(),
                "connection": connection,
                "placements": placements,
                "quick": options.quick,
            });
            return Ok(Self { json: Some(head), lines: Vec::new() });
        }
        println!("{}, {connection}, messages of 200 bytes. {placements}.", server.version());
        println!(
            "Medians of rounds taken in turns; (in brackets: the middle half of the rounds' ratios). Commands and reads are what\n\
             the server had from clients per message; server µs are its CPU time by INFO per message (ours / floor), client µs\n\
             that of the measuring thread, which sends and receives. A goal is for the ratio, or for ours where there is none.\n"
        );
        println!(
            "{:5}{:41}{:19}{:>9}{:>10}  {:19}{:14}{:>6}{:>7}{:>14}{:>14}",
            "on",
            "measure",
            "beside",
            "ours",
            "floor",
            "ratio",
            "goal",
            "cmds",
            "reads",
            "server µs",
            "client µs"
        );
        Ok(Self { json: None, lines: Vec::new() })
    }

    pub(crate) fn add(&mut self, line: Line) -> Result<()> {
        if self.json.is_none() {
            print_line(&line);
        }
        self.lines.push(line);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<()> {
        if let Some(mut report) = self.json
            && let Some(report) = report.as_object_mut()
        {
            report.insert("lines".to_owned(), serde_json::to_value(&self.lines)?);
            println!("{}", serde_json::to_string_pretty(report)?);
        }
        Ok(())
    }
}

fn print_line(line: &Line) {
    let ratio = match (line.ratio, line.ratio_from, line.ratio_to) {
        (Some(ratio), Some(from), Some(to)) => format!("{ratio:.2} ({from:.2}-{to:.2})"),
        (Some(ratio), ..) => format!("{ratio:.2}"),
        _ => "-".to_owned(),
    };
    let goal = match (line.goal, line.met) {
        (Some(goal), Some(met)) => {
            let (sign, bound) = match goal {
                Goal::AtMost(most) => ("<=", most),
                Goal::AtLeast(least) => (">=", least),
            };
            format!("{sign}{bound} {}", if met { "met" } else { "not met" })
        }
        _ => "-".to_owned(),
    };
    println!(
        "{:5}{:41}{:19}{:>9}{:>10}  {:19}{:14}{:>6}{:>7}{:>14}{:>14}",
        line.placement,
        line.measure,
        line.beside,
        figure(line.ours),
        figure(line.floor),
        ratio,
        goal,
        figure(line.commands_per_message),
        figure(line.reads_per_message),
        pair(line.server_us_per_message, line.floor_server_us_per_message),
        pair(line.client_us_per_message, line.floor_client_us_per_message),
    );
}

/// With as many digits as say something.
fn figure(figure: Option<f64>) -> String {
    match figure {
        None => "-".to_owned(),
        Some(figure) if figure.abs() >= 1000.0 => format!("{figure:.0}"),
        Some(figure) if figure.abs() >= 10.0 => format!("{figure:.1}"),
        Some(figure) => format!("{figure:.2}"),
    }
}

fn pair(ours: Option<f64>, floor: Option<f64>) -> String {
    match (ours, floor) {
        (None, None) => "-".to_owned(),
        (ours, floor) => format!("{} / {}", figure(ours), figure(floor)),
    }
}
