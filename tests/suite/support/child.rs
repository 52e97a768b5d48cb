//! A real process beside the suite: this program, run again for one function that does nothing in a run of the suite.

use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The lines that a child prints.
pub(crate) type Printed = Lines<BufReader<ChildStdout>>;

/// Starts a child for a function of a module, given as `module_path!()`, in a role, which is the value of a variable of its
/// environment. Returns when it has printed `ready`.
pub(crate) fn start_child(module: &str, function: &str, (variable, role): (&str, &str)) -> (Child, Printed) {
    let test = format!("{}::{function}", module.split_once("::").unwrap().1);
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args([&*test, "--exact", "--nocapture"])
        .env(variable, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"), "the child ended");
    (process, lines)
}

/// Ends this process with its standard input: nobody is left behind by a suite that is killed.
pub(crate) fn end_with_the_suite() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}
