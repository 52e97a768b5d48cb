//! How a command ends: its exit status, and one line on standard error with the reason.

use std::io::Write;
use std::process::ExitCode;
use std::sync::LazyLock;

use asgi_redis::{Error, ErrorKind};
use regex::Regex;

/// Where `-h` ends.
pub(crate) const MORE: &str = "--help has more, the options of every command, and the exit statuses.";

/// The part of `--help` about [`Status`].
pub(crate) const EXIT_STATUS: &str = "\
Exit status:
  0    done; also when the reader of the output has closed it, and nothing was lost by that
  1    nothing, or too little, arrived in time; no reply to a request; demo: messages were lost or repeated, or the sums
       differ; conformance: a rule is broken
  2    wrong use, name, message or option; also what the server or the layer cannot do, such as a server too old
  3    the channel is full; group send: at least one queue of the group was full
  4    no server: it cannot be reached, did not answer, is still loading, or is a replica
  5    any other failure: a message too large or undecodable, a server without memory, a script that failed;
       receive: a message was taken and not printed, or does not open with these keys, and was dropped;
       drain: messages stay that belong to no channel of this layer
  6    the server refuses the user or password, or wants some
  7    the server does not have the database
  8    the user lacks a right on the server; the text names it
  9    no TLS with the server, or TLS alone; a certificate that is not trusted
  129, 130, 143    ended by SIGHUP, SIGINT or SIGTERM, with nothing in flight lost";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Done,
    NothingArrived,
    /// Of the demo: what was counted is not what must be.
    SumsDiffer,
    /// Of conformance.
    RulesBroken,
    WrongUse,
    ChannelFull,
    NoServer,
    Failed,
    BadCredentials,
    NoDatabase,
    NoRight,
    NoTls,
    /// By the signal of this number.
    Interrupted(u8),
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Done => 0,
            Status::NothingArrived | Status::SumsDiffer | Status::RulesBroken => 1,
            Status::WrongUse => 2,
            Status::ChannelFull => 3,
            Status::NoServer => 4,
            Status::Failed => 5,
            Status::BadCredentials => 6,
            Status::NoDatabase => 7,
            Status::NoRight => 8,
            Status::NoTls => 9,
            Status::Interrupted(signal) => 128 + signal,
        })
    }
}

/// A command that did not do what it was to do.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    /// Empty if nothing is to be written.
    message: String,
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn wrong_use(message: impl Into<String>) -> Self {
        Self::new(Status::WrongUse, message)
    }

    /// The same, with what that means for the command.
    pub(crate) fn because(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// Writes to standard error what went wrong, and returns the exit status.
    pub(crate) fn tell(self) -> Status {
        if !self.message.is_empty() {
            tell(&self.message);
        }
        self.status
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

impl Failure {
    /// What an error makes of a command.
    pub(crate) fn of(error: &Error) -> Self {
        let status = match error.kind() {
            ErrorKind::ChannelFull => Status::ChannelFull,
            ErrorKind::InvalidName | ErrorKind::Config | ErrorKind::Unsupported => Status::WrongUse,
            ErrorKind::Credentials => Status::BadCredentials,
            ErrorKind::Database => Status::NoDatabase,
            ErrorKind::Rights => Status::NoRight,
            ErrorKind::Tls => Status::NoTls,
            kind if kind.is_outage() => Status::NoServer,
            _ => Status::Failed,
        };
        Self::new(status, error.to_string())
    }
}

/// Writes one line to standard error. Does nothing if standard error is closed.
pub(crate) fn tell(message: &str) {
    let line = without_passwords(&message.split_whitespace().collect::<Vec<_>>().join(" "));
    let _ = writeln!(std::io::stderr(), "asgi-redis: {line}");
}

/// Returns clap's report about wrong arguments as one line, without the usage that follows.
pub(crate) fn one_line(report: &str) -> String {
    let said: Vec<&str> = report
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let said = said.join(" ");
    format!("{}; see --help", said.strip_prefix("error: ").unwrap_or(&said))
}

/// Masks passwords: an error shows an argument in the wrong place, which may be a URL.
fn without_passwords(text: &str) -> String {
    #[expect(clippy::expect_used, reason = "the pattern is a constant, and a test uses it")]
    static SECRET: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(://)[^\s"'`]*(@)|([?&]pass(?:word)?=)[^\s"'`&]*()"#)
            .expect("the pattern is well-formed")
    });
    // A password where a port should be, which all other characters than digits tell.
    #[expect(clippy::expect_used, reason = "the pattern is a constant, and a test uses it")]
    static NO_PORT: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(://[^\s"'`/@:,;?\[]*:)[^\s"'`/@,;?]*[^\s"'`/@,;?0-9][^\s"'`/@,;?]*"#)
            .expect("the pattern is well-formed")
    });
    let text = SECRET.replace_all(text, "$1$3***$2");
    NO_PORT.replace_all(&text, "$1***").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_in_the_wrong_place_is_shown_without_its_password() {
        for (text, shown) in [
            (
                "unexpected argument 'redis://:secret@host/1' found",
                "unexpected argument 'redis://***@host/1' found",
            ),
            ("\"rediss://me:s@cret@host\" and redis://host", "\"rediss://***@host\" and redis://host"),
            ("unix:///s?db=1&pass=secret&user=me", "unix:///s?db=1&pass=***&user=me"),
            ("redis://h?password=secret&db=1", "redis://h?password=***&db=1"),
            ("redis://***@host: characters such as `@`", "redis://***@host: characters such as `@`"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn a_report_about_arguments_becomes_one_line() {
        let report = "error: the following required arguments were not provided:\n  <CHANNEL>\n\n\
                      Usage: asgi-redis send <CHANNEL> <JSON>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(report),
            "the following required arguments were not provided: <CHANNEL>; see --help"
        );
    }
}
