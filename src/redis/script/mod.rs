//! The scripts that the build compiled from `lua/`: what each is called, takes and answers, and where its lines come
//! from.

use include_dir::{Dir, File, include_dir};

/// The expanded scripts, as the server gets them.
static FOLDER: Dir<'static> = include_dir!("$OUT_DIR/lua");

include!(concat!(env!("OUT_DIR"), "/scripts.rs"));

/// The layout of keys and entries that the scripts read and write.
pub const SCHEMA: i64 = 3;

/// Every script of the engine, in the order of their names.
///
/// ```
/// for script in asgi_redis::scripts::all() {
///     println!("{} {}", script.sha(), script.name());
/// }
/// ```
pub fn all() -> &'static [&'static Script] {
    ALL
}

/// The script of this name, for example `push`.
pub fn get(name: &str) -> Option<&'static Script> {
    all().iter().copied().find(|script| script.name == name)
}

/// One operation of the engine: a Lua script that the server runs with no other command in between.
///
/// Any Redis client may load its [`source`](Script::source) with `SCRIPT LOAD` and call it by its
/// [`sha`](Script::sha) with `EVALSHA`. Its keys and arguments are the [`slots`](Script::slots) in order;
/// [`reply`](Script::reply) lists what it answers.
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    sha: &'static str,
    doc: &'static str,
    reply: &'static [&'static str],
    slots: &'static [Slot],
    /// Lines of the source.
    lines: u32,
    runs: &'static [Run],
}

impl Script {
    /// Its name: that of its file in `lua/`, without `.lua`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The SHA-1 of its [`source`](Script::source) in lower-case hex, as `EVALSHA` wants it.
    pub fn sha(&self) -> &'static str {
        self.sha
    }

    /// The text that `SCRIPT LOAD` gets: the script's file with the libraries it includes in their places.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "the build writes the folder with the constants"
    )]
    pub fn source(&self) -> &'static str {
        let text = FOLDER.get_file(format!("{}.lua", self.name)).and_then(File::contents_utf8);
        text.expect("each script's text is in the folder")
    }

    /// What it does.
    pub fn doc(&self) -> &'static str {
        self.doc
    }

    /// Its replies: one text for each `-- reply:` of its file.
    pub fn reply(&self) -> &'static [&'static str] {
        self.reply
    }

    /// Its keys and arguments. Those of one kind stand in order, without gaps.
    pub fn slots(&self) -> &'static [Slot] {
        self.slots
    }

    /// The file and line from which a line of [`source`](Script::source) comes, such as `("lua/lib/clock.lua", 3)`.
    ///
    /// Lines are counted from 1, as the server counts them. The answer is `None` for a line that is not there.
    ///
    /// ```
    /// for script in asgi_redis::scripts::all() {
    ///     let (file, line) = script.locate(1).expect("every script has a first line");
    ///     assert_eq!(file, format!("lua/{}.lua", script.name()));
    ///     assert_eq!(line, 1);
    /// }
    /// ```
    pub fn locate(&self, line: u32) -> Option<(&'static str, u32)> {
        let run = self.runs.iter().rev().find(|run| run.start <= line)?;
        (line <= self.lines).then(|| (run.file, run.line + (line - run.start)))
    }

    /// The command that a line of [`source`](Script::source) calls, if it calls one.
    pub(crate) fn command_at(&self, line: u32) -> Option<&'static str> {
        let line = self.source().lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
        let (_, after) = line.split_once("call('")?;
        after.split_once('\'').map(|(command, _)| command)
    }

    /// The server's text about an error in this script, with the real file and line wherever it has
    /// `user_script:LINE` or `@user_script:LINE`.
    ///
    /// A line that the script does not have is left as it is, and so is all other text.
    ///
    /// ```
    /// for script in asgi_redis::scripts::all() {
    ///     let told = script.rewrite_error("ERR user_script:1: unexpected symbol");
    ///     assert_eq!(told, format!("ERR lua/{}.lua:1: unexpected symbol", script.name()));
    /// }
    /// ```
    pub fn rewrite_error(&self, message: &str) -> String {
        let mut rewritten = String::with_capacity(message.len());
        let mut rest = message;
        while let Some((before, after)) = rest.split_once(CHUNK) {
            let (digits, tail) =
                after.split_at(after.find(|char: char| !char.is_ascii_digit()).unwrap_or(after.len()));
            match digits.parse().ok().and_then(|line| self.locate(line)) {
                Some((file, line)) => {
                    rewritten.push_str(before.strip_suffix('@').unwrap_or(before));
                    rewritten.push_str(&format!("{file}:{line}"));
                }
                None => {
                    rewritten.push_str(before);
                    rewritten.push_str(CHUNK);
                    rewritten.push_str(digits);
                }
            }
            rest = tail;
        }
        rewritten.push_str(rest);
        rewritten
    }
}

/// What servers call every script in their messages, before the line.
const CHUNK: &str = "user_script:";

/// Lines of a script that stand together in one file: the script's lines from `start` on are `file`'s from `line` on.
#[derive(Debug)]
struct Run {
    start: u32,
    file: &'static str,
    line: u32,
}

/// One key or argument of a [`Script`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    kind: SlotKind,
    index: usize,
    name: &'static str,
    ty: &'static str,
    text: &'static str,
    variadic: bool,
}

/// Which of the two lists of `EVALSHA` a [`Slot`] stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// A key: `KEYS` in Lua.
    Key,
    /// An argument: `ARGV` in Lua.
    Argument,
}

impl Slot {
    /// Whether it is a key or an argument.
    pub fn kind(&self) -> SlotKind {
        self.kind
    }

    /// Its number among those of its kind, counted from 1 as in Lua.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The local variable that holds it in the script.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its type: of a key, what Redis keeps there (`list`, `hash`...); of an argument, how its bytes are read
    /// (`int`, `bytes`...).
    pub fn ty(&self) -> &'static str {
        self.ty
    }

    /// What it holds; of a key, its shape.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// Whether it stands for any number of slots, from [`index`](Slot::index) to the last of its kind.
    pub fn is_variadic(&self) -> bool {
        self.variadic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SCRIPT: Script = Script {
        name: "push",
        sha: "712d81e79c83b5be973ecdc4a2aa8ccb66af4717",
        doc: "",
        reply: &[],
        slots: &[],
        lines: 9,
        runs: &[
            Run { start: 1, file: "lua/push.lua", line: 1 },
            Run { start: 5, file: "lua/lib/clock.lua", line: 1 },
            Run { start: 8, file: "lua/push.lua", line: 5 },
        ],
    };

    #[test]
    fn a_line_is_located_in_the_file_it_came_from() {
        assert_eq!(SCRIPT.locate(1), Some(("lua/push.lua", 1)));
        assert_eq!(SCRIPT.locate(4), Some(("lua/push.lua", 4)));
        assert_eq!(SCRIPT.locate(5), Some(("lua/lib/clock.lua", 1)));
        assert_eq!(SCRIPT.locate(7), Some(("lua/lib/clock.lua", 3)));
        assert_eq!(SCRIPT.locate(8), Some(("lua/push.lua", 5)));
        assert_eq!(SCRIPT.locate(9), Some(("lua/push.lua", 6)));
    }

    #[test]
    fn a_line_that_the_script_does_not_have_is_located_nowhere() {
        assert_eq!(SCRIPT.locate(0), None);
        assert_eq!(SCRIPT.locate(10), None);
        assert_eq!(SCRIPT.locate(u32::MAX), None);
    }

    #[test]
    fn an_error_at_run_time_names_the_real_file_in_both_places() {
        let said = "ERR user_script:6: attempt to index local 'x' (a nil value) script: \
                    712d81e79c83b5be973ecdc4a2aa8ccb66af4717, on @user_script:9.";
        let rewritten = "ERR lua/lib/clock.lua:2: attempt to index local 'x' (a nil value) script: \
                         712d81e79c83b5be973ecdc4a2aa8ccb66af4717, on lua/push.lua:6.";
        assert_eq!(SCRIPT.rewrite_error(said), rewritten);
    }

    #[test]
    fn an_error_at_load_time_names_the_real_file() {
        let said =
            "ERR Error compiling script (new function): user_script:4: unexpected symbol near 'return'";
        let rewritten =
            "ERR Error compiling script (new function): lua/push.lua:4: unexpected symbol near 'return'";
        assert_eq!(SCRIPT.rewrite_error(said), rewritten);
    }

    #[test]
    fn text_that_names_no_line_of_the_script_stays_as_it_is() {
        for said in [
            "",
            "NOSCRIPT No matching script.",
            "on @user_script:10.",
            "user_script:",
            "user_script:x user_script:99999999999999999999.",
        ] {
            assert_eq!(SCRIPT.rewrite_error(said), said);
        }
    }
}
