//! The order of rooms, as docs/architecture.md has it, and what is against it.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Arrow, Tree};

/// Rooms of which none imports from the other, wherever they stand.
const APART: [(&str, &str); 2] = [("memory/", "redis/"), ("redis/", "memory/")];

/// The rows of the table, low to high, and the exceptions.
#[derive(Debug)]
pub(super) struct Order {
    /// Files (`redis/keys.rs`) and rooms (`redis/calls/`).
    rows: Vec<String>,
    /// Pairs of files of which the first may import from the second.
    exceptions: Vec<(String, String)>,
}

impl Order {
    /// Reads the table between the comments of the document, and the table of exceptions.
    pub(super) fn read(document: &str) -> Self {
        let rows = rows(document, "order of rooms").into_iter().map(|mut cells| cells.swap_remove(0));
        let exceptions = rows_or_none(document, "exceptions to the order");
        let exceptions = exceptions.into_iter().map(|mut cells| (cells.remove(0), cells.remove(0)));
        Self { rows: rows.collect(), exceptions: exceptions.collect() }
    }

    /// The place of a file: that of its own row, else that of its innermost room.
    fn place(&self, file: &str) -> Option<usize> {
        let covers = |row: &&String| *row == file || (row.ends_with('/') && file.starts_with(row.as_str()));
        let row = self.rows.iter().filter(covers).max_by_key(|row| row.len())?;
        self.rows.iter().position(|it| it == row)
    }

    /// All that is against the order, one line each.
    pub(super) fn faults(&self, tree: &Tree) -> Vec<String> {
        let mut faults = self.misfits(tree);
        let mut used = BTreeSet::new();
        let mut beside: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for ((from, to), paths) in pairs(tree) {
            let (Some(here), Some(there)) = (self.place(&from), self.place(&to)) else { continue };
            let are_apart = APART.iter().any(|(one, other)| from.starts_with(one) && to.starts_with(other));
            let fault = format!("{from} imports from {to} ({})", paths.join(", "));
            if here == there {
                beside.entry(from).or_default().insert(to);
            } else if are_apart {
                faults.push(format!("{fault}: these rooms do not know each other"));
            } else if there > here {
                let pair = (from, to);
                if !self.exceptions.contains(&pair) {
                    faults.push(format!("{fault}, which stands higher"));
                }
                used.insert(pair);
            }
        }
        let unused = self.exceptions.iter().filter(|pair| !used.contains(pair));
        faults.extend(unused.map(|(from, to)| format!("{from} no longer needs its exception for {to}")));
        faults.extend(circles(&beside));
        faults
    }

    /// Files without a row, and rows without a file.
    fn misfits(&self, tree: &Tree) -> Vec<String> {
        let homeless = tree.files().filter(|file| self.place(file).is_none());
        let mut faults: Vec<String> =
            homeless.map(|file| format!("{file} stands in no room of the table")).collect();
        let places: BTreeSet<usize> = tree.files().filter_map(|file| self.place(file)).collect();
        let empty = self.rows.iter().enumerate().filter(|(place, _)| !places.contains(place));
        faults.extend(empty.map(|(_, row)| format!("{row} is a row of the table and no file of src/")));
        let repeated = self.rows.iter().enumerate().filter(|(place, row)| self.rows[..*place].contains(row));
        faults.extend(repeated.map(|(_, row)| format!("{row} stands in the table twice")));
        faults
    }
}

/// The paths by which one file imports from another one.
fn pairs(tree: &Tree) -> BTreeMap<(String, String), Vec<String>> {
    let mut pairs: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for Arrow { from, to, path } in tree.arrows() {
        pairs.entry((from, to)).or_default().push(path);
    }
    pairs
}

/// How many rooms there are directly under `src/`, and how many pairs of them have an import. The crate root counts as none.
pub(super) fn count(tree: &Tree) -> (usize, usize) {
    let room = |file: &str| file.split('/').next().unwrap_or_default().to_owned();
    let is_root = |room: &String| matches!(room.as_str(), "lib.rs" | "main.rs");
    let rooms: BTreeSet<String> = tree.files().map(room).filter(|room| !is_root(room)).collect();
    let arrows = tree.arrows();
    let arrows = arrows.iter().map(|arrow| (room(&arrow.from), room(&arrow.to)));
    let arrows: BTreeSet<_> =
        arrows.filter(|(from, to)| from != to && !is_root(from) && !is_root(to)).collect();
    (rooms.len(), arrows.len())
}

/// The circles among files of one row, each told once.
fn circles(beside: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut told: BTreeSet<BTreeSet<String>> = BTreeSet::new();
    let mut faults = Vec::new();
    for start in beside.keys() {
        let Some(circle) = way_back(beside, start) else { continue };
        if told.insert(circle.iter().cloned().collect()) {
            faults
                .push(format!("{start} and its neighbours import from each other: {}", circle.join(" -> ")));
        }
    }
    faults
}

/// The shortest way from a file to itself.
fn way_back(beside: &BTreeMap<String, BTreeSet<String>>, start: &String) -> Option<Vec<String>> {
    let mut ways: Vec<Vec<String>> = vec![vec![start.clone()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in way.last().and_then(|last| beside.get(last)).into_iter().flatten() {
                let mut way = way.clone();
                way.push(next.clone());
                if next == start {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

/// The rows of the tables between two comments: the texts in backticks of each row that begins with one.
fn rows_or_none(document: &str, name: &str) -> Vec<Vec<String>> {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let Some((_, rest)) = document.split_once(&begin) else { return Vec::new() };
    let (table, _) = rest.split_once(&end).unwrap_or_else(|| panic!("{end} is missing"));
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('`').skip(1).step_by(2).map(str::to_owned).collect()).collect()
}

fn rows(document: &str, name: &str) -> Vec<Vec<String>> {
    let rows = rows_or_none(document, name);
    assert!(!rows.is_empty(), "no table of the {name} was found");
    rows
}
