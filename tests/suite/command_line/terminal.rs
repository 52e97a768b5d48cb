//! What people see: the program on a terminal of 80 and of 200 columns, on a dumb one, and without colours.

use std::process::{Command, Stdio};

use super::Ended;

/// What a terminal of so many columns shows in the end, line by line, and all that was written to it.
struct Screen {
    lines: Vec<String>,
    written: String,
    status: Option<i32>,
}

/// Runs the program on a terminal, which the program `script` makes.
fn on_terminal(columns: usize, arguments: &str, environment: &[(&str, &str)]) -> Screen {
    let program = env!("CARGO_BIN_EXE_asgi-redis");
    let mut command = Command::new("script");
    command.args(["-qec", &format!("stty cols {columns} rows 24; exec {program} {arguments}"), "/dev/null"]);
    command
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .env_remove("ASGI_REDIS_URL");
    let ended: Ended =
        command.envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap().into();
    assert_eq!(ended.err, "");
    Screen { lines: shown(&ended.out, columns), written: ended.out, status: ended.status }
}

/// Follows what is written: text, the begin of the line, the next line, and the sequence that clears the rest of a line.
fn shown(written: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut column) = (vec![Vec::new()], 0);
    let mut rest = written;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        let line = lines.last_mut().unwrap();
        match character {
            '\r' => column = 0,
            '\n' => lines.push(Vec::new()),
            '\x1b' => {
                rest = rest
                    .strip_prefix("[K")
                    .unwrap_or_else(|| panic!("a sequence that is not known: {rest:.10}"));
                line.truncate(column);
            }
            character => {
                assert!(column < columns, "a line is longer than the terminal is wide: {line:?}");
                line.resize(line.len().max(column + 1), ' ');
                line[column] = character;
                column += 1;
            }
        }
    }
    lines
        .into_iter()
        .map(|line: Vec<char>| line.into_iter().collect::<String>().trim_end().to_owned())
        .collect()
}

const DEMO: &str = "--redis memory:// demo";

/// The table and the verdict, and what stands above them.
fn table(screen: &Screen) -> (&[String], &[String]) {
    assert_eq!(screen.status, Some(0), "{}", screen.written);
    let first = screen.lines.iter().position(|line| line.starts_with("layer  ")).expect(&screen.written);
    let (above, table) = screen.lines.split_at(first);
    let verdict =
        table.iter().position(|line| line == "nothing lost, nothing repeated").expect(&screen.written);
    assert!(table[verdict + 1..].iter().all(String::is_empty), "{table:?}");
    (above, &table[..verdict])
}

#[test]
fn the_demo_redraws_one_line_and_leaves_nothing_of_it() {
    for columns in [80, 200] {
        let screen = on_terminal(columns, DEMO, &[]);
        assert!(screen.written.matches("\r\x1b[Ksent ").count() > 5, "{:?}", screen.written);
        let (above, rows) = table(&screen);
        assert!(
            above.iter().all(|line| line.starts_with("asgi-redis: ") && !line.contains("sent ")),
            "{above:?}"
        );
        assert_eq!(rows.len(), 19, "{rows:?}");
    }
}

#[test]
fn the_demo_with_a_server_of_its_own_fits_80_columns_too() {
    let screen = on_terminal(80, "demo", &[("TMPDIR", "/tmp")]);
    let (above, _) = table(&screen);
    assert!(above.iter().any(|line| line.starts_with("asgi-redis: on a private ")), "{above:?}");
}

#[test]
fn the_demo_sends_no_sequence_where_no_colour_is_wanted() {
    let screen = on_terminal(80, DEMO, &[("NO_COLOR", "1")]);
    assert!(!screen.written.contains('\x1b'), "{:?}", screen.written);
    let (above, rows) = table(&screen);
    assert!(above.iter().all(|line| line.starts_with("asgi-redis: ")), "{above:?}");
    assert_eq!(rows.len(), 19, "{rows:?}");
}

#[test]
fn the_demo_writes_whole_lines_to_a_dumb_terminal() {
    let screen = on_terminal(80, DEMO, &[("TERM", "dumb")]);
    assert!(!screen.written.contains('\x1b') && !screen.written.replace("\r\n", "").contains('\r'));
    let (above, _) = table(&screen);
    assert!(above.iter().any(|line| line.starts_with("asgi-redis: sent ")), "{above:?}");
}

#[test]
fn help_wraps_to_the_terminal() {
    let commands =
        ["", "send", "receive", "group", "flush", "shards", "drain", "demo", "new-channel", "scripts"];
    for command in commands {
        for columns in [80, 120] {
            let long = on_terminal(columns, &format!("{command} --help"), &[("NO_COLOR", "1")]);
            let longest = long.lines.iter().map(|line| line.chars().count()).max().unwrap();
            assert!(longest > columns / 2 && longest <= columns, "{command}: {longest} of {columns}");
            let short = on_terminal(columns, &format!("{command} -h"), &[("NO_COLOR", "1")]);
            assert!(short.lines.len() < long.lines.len(), "{command}: {:?}", short.lines);
        }
        let lines = on_terminal(80, &format!("{command} -h"), &[("NO_COLOR", "1")]).lines;
        let options =
            lines.iter().filter_map(|line| line.trim_start().strip_prefix("--")?.split([' ', '=']).next());
        let mut options: Vec<&str> = options.collect();
        let count = options.len();
        options.sort_unstable();
        options.dedup();
        assert_eq!(options.len(), count, "{command}: an option stands twice: {lines:?}");
    }
}

#[test]
fn an_error_is_one_plain_line_on_a_terminal_too() {
    let screen = on_terminal(200, "--redis http://redis1 shards", &[]);
    assert_eq!(screen.status, Some(2), "{}", screen.written);
    assert!(
        screen.lines[0].starts_with("asgi-redis: ") && screen.lines[0].contains("http://redis1"),
        "{:?}",
        screen.lines
    );
}
