//! Why a server does not serve the layer, from what it or the connection said: the kind of the failure, and the remedy in its
//! text.

use redis::{RedisError, ServerError, ServerErrorKind};

use super::failure::Failure;
use super::script::Script;
use crate::error::{Error, ErrorKind};

/// A server, and what the layer asks of it, for messages.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) host: &'a str,
    pub(super) prefix: &'a str,
}

/// How the client begins its error about the command SELECT, whose code it drops.
const REFUSED_TO_SELECT: &str = "refused to switch database";

impl Asked<'_> {
    /// An error that the connection gave instead of a reply, about a command that was perhaps written already.
    pub(super) fn lost_reply(self, error: RedisError, written: bool) -> Failure {
        if let Some(text) = servers_words(&error) {
            // Of setting up the connection: the server has answered, and done nothing.
            return Failure { source: Some(error), ..self.refusal(None, &text) };
        }
        let kind = if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Connection };
        let what = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
        // One line, whatever the other side sent.
        let mut why = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if error.kind() == redis::ErrorKind::Parse {
            why = format!(
                "what it answers is not the protocol of Redis; does another program listen there? ({why})"
            );
        }
        Failure {
            may_be_executed: written,
            source: Some(error),
            ..Failure::new(kind, format!("server {} {what}: {why}", self.host))
        }
    }

    /// An error that the server gave as its reply.
    pub(super) fn refused(self, script: Option<&Script>, error: &ServerError) -> Failure {
        if error.kind() == Some(ServerErrorKind::NoScript) {
            return Failure::forgotten(self.host);
        }
        self.refusal(script, &in_words(error.code(), error.details()))
    }

    /// The server's own words about what it refused: a code and a text.
    pub(super) fn refusal(self, script: Option<&Script>, text: &str) -> Failure {
        let Self { host, prefix } = self;
        let kind = kind_of(text);
        let said = script.map_or_else(|| text.to_owned(), |script| script.rewrite_error(text));
        let message = match (kind, script) {
            (ErrorKind::ServerFull, _) => {
                format!(
                    "server {host} has no memory left for the message; raise its maxmemory or receive more: {text}"
                )
            }
            (ErrorKind::Credentials, _) if text.starts_with("NOAUTH") => {
                format!("server {host} wants a password, and this layer has none: {text}")
            }
            (ErrorKind::Credentials, _) => {
                format!("server {host} refuses the user or password of this layer: {text}")
            }
            (ErrorKind::Loading, _) => format!("server {host} is still loading its data: {text}"),
            (ErrorKind::Replica, _) => {
                format!("server {host} is a replica and takes no writes; name its primary: {text}")
            }
            (ErrorKind::Unsupported, _) => in_cluster_mode(host),
            (ErrorKind::Rights, _) => match missing_right(text, script, prefix) {
                Some(right) => {
                    // A script's own words tell it already.
                    let said = said.strip_suffix(&format!("; grant {right}")).unwrap_or(&said);
                    format!("server {host} denies its user a right; grant {right}: {said}")
                }
                None => format!("server {host} denies its user a right: {said}"),
            },
            (_, Some(script)) => {
                // A check says the script's name itself.
                let own = format!("ERR {}: ", script.name());
                format!(
                    "server {host} refused script {}: {}",
                    script.name(),
                    said.strip_prefix(&own).unwrap_or(&said)
                )
            }
            (_, None) => format!("server {host} refused a command: {said}"),
        };
        // A line is named by a script that had begun, and what it did before stays done.
        let may_be_executed = script.is_some() && text.contains("@user_script");
        Failure { may_be_executed, ..Failure::new(kind, message) }
    }

    /// The server does not have the database.
    pub(super) fn no_database(self, failure: Failure, database: i64) -> Failure {
        if failure.kind != ErrorKind::Database {
            return failure;
        }
        let message = format!(
            "server {} has no database {database}; raise its `databases`, or name a lower one: DB index is out of range",
            self.host
        );
        Failure { message, ..failure }
    }
}

/// Whether the text of an error about a right says which.
pub(super) fn names_right(error: &Error) -> bool {
    error.to_string().contains("; grant ")
}

/// The text about a server that is part of a cluster.
pub(super) fn in_cluster_mode(host: &str) -> String {
    format!(
        "server {host} is in cluster mode, which this layer does not support; name servers that are no part of a cluster"
    )
}

fn in_words(code: &str, details: Option<&str>) -> String {
    details.map_or_else(|| code.to_owned(), |details| format!("{code} {details}"))
}

/// What the server itself said, if the error is its answer.
fn servers_words(error: &RedisError) -> Option<String> {
    let detail = error.detail();
    if let Some(code) = error.code() {
        return Some(in_words(code, detail));
    }
    error.to_string().contains(REFUSED_TO_SELECT).then(|| detail.unwrap_or_default().to_owned())
}

fn kind_of(text: &str) -> ErrorKind {
    match text.split(' ').next().unwrap_or_default() {
        "OOM" => ErrorKind::ServerFull,
        "WRONGPASS" | "NOAUTH" => ErrorKind::Credentials,
        "LOADING" => ErrorKind::Loading,
        "READONLY" | "MASTERDOWN" => ErrorKind::Replica,
        "NOPERM" => ErrorKind::Rights,
        "BUSY" | "CLUSTERDOWN" | "DENIED" | "MISCONF" | "NOREPLICAS" | "TRYAGAIN" => ErrorKind::Connection,
        // Redis 7.0 about a command inside of a script, and the client about SELECT, give no code.
        _ if text.contains("The user executing the script can't") || text.contains("has no permissions") => {
            ErrorKind::Rights
        }
        _ if text.contains("DB index is out of range") => ErrorKind::Database,
        _ if text.contains("not allowed in cluster mode") => ErrorKind::Unsupported,
        _ => ErrorKind::Script,
    }
}

/// The right whose lack the text tells, as `ACL SETUSER` takes it.
fn missing_right(text: &str, script: Option<&Script>, prefix: &str) -> Option<String> {
    let command = |name: &str| format!("+{}", name.to_ascii_lowercase());
    // "no permissions to run the 'script|load' command"
    if let Some((name, _)) = text.split_once("the '").and_then(|(_, rest)| rest.split_once("' command")) {
        return Some(command(name));
    }
    if text.contains("key") {
        return Some(format!("~{prefix}*"));
    }
    if text.contains("channel") {
        return Some(format!("&{prefix}wake:*"));
    }
    let (_, line) = text.split_once("@user_script:")?;
    let line: String = line.chars().take_while(char::is_ascii_digit).collect();
    script?.command_at(line.parse().ok()?).map(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::script;

    const ASKED: Asked<'_> = Asked { host: "redis://a:1", prefix: "asgi:" };

    #[test]
    fn a_missing_right_is_named_in_the_words_of_every_version() {
        for (text, right) in [
            ("NOPERM this user has no permissions to run the 'evalsha' command", "+evalsha"),
            ("NOPERM User asgi has no permissions to run the 'script|load' command", "+script|load"),
            ("NOPERM this user has no permissions to access one of the keys used as arguments", "~asgi:*"),
            (
                "NOPERM this user has no permissions to access one of the channels used as arguments",
                "&asgi:wake:*",
            ),
            ("ERR ACL failure in script: User a has no permissions to run the 'rpush' command", "+rpush"),
            ("this user has no permissions to run the 'select' command", "+select"),
        ] {
            let failure = ASKED.refusal(None, text);
            assert_eq!(failure.kind, ErrorKind::Rights, "{text}");
            assert!(failure.message.contains(&format!("; grant {right}: ")), "{}", failure.message);
        }
    }

    #[test]
    fn a_command_inside_of_a_script_is_found_by_its_line() {
        let number =
            script::PUSH.source().lines().position(|line| line.contains("pcall('RPUSHX'")).unwrap() + 1;
        let text = format!(
            "ERR The user executing the script can't run this command or subcommand script: abc, on @user_script:{number}."
        );
        let failure = ASKED.refusal(Some(&script::PUSH), &text);
        assert!(failure.message.contains("grant +rpushx: "), "{}", failure.message);
        assert!(failure.may_be_executed);
    }

    #[test]
    fn an_argument_that_a_script_refuses_is_named_and_nothing_was_done() {
        let text = "ERR push: ARGV[2] expiry: \"6e4\" is not a whole number of ms from 1 to 315360000000";
        let failure = ASKED.refusal(Some(&script::PUSH), text);
        assert_eq!(failure.kind, ErrorKind::Script);
        assert!(!failure.may_be_executed);
        let told = "server redis://a:1 refused script push: ARGV[2] expiry: \"6e4\" is not a whole number of ms from";
        assert!(failure.message.starts_with(told), "{}", failure.message);
    }

    #[test]
    fn what_another_code_says_keeps_its_kind() {
        for (text, kind) in [
            ("WRONGTYPE Operation against a key holding the wrong kind of value", ErrorKind::Script),
            ("MISCONF Redis is configured to save RDB snapshots", ErrorKind::Connection),
            ("MASTERDOWN Link with MASTER is down", ErrorKind::Replica),
            ("ERR SELECT is not allowed in cluster mode", ErrorKind::Unsupported),
        ] {
            assert_eq!(ASKED.refusal(None, text).kind, kind, "{text}");
        }
    }
}
