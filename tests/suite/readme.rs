//! The pages for people: README fits one screen, every link leads somewhere, and every example is a test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

const MAX_README_LINES: usize = 150;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Markdown files below a folder.
fn pages_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { pages_below(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

/// Every page whose links are checked.
fn pages() -> Vec<PathBuf> {
    let single = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "dist/README.md",
        "lua/README.md",
        "model/README.md",
    ];
    single.iter().map(|page| root().join(page)).chain(pages_below(&root().join("docs"))).collect()
}

/// A page without its fenced code, and the words after each fence that opens one.
fn without_code(text: &str) -> (String, Vec<&str>) {
    let (mut prose, mut fences, mut open) = (String::new(), Vec::new(), None);
    for line in text.lines() {
        let fence = line.trim_start();
        let marks = fence.len() - fence.trim_start_matches('`').len();
        match open {
            None if marks >= 3 => {
                open = Some(marks);
                fences.push(fence.trim_start_matches('`').trim());
            }
            Some(wanted) if marks >= wanted && fence.trim_end().len() == marks => open = None,
            Some(_) => {}
            None => {
                prose.push_str(line);
                prose.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a fence is never closed");
    (prose, fences)
}

/// The targets of the links of a page.
fn links(text: &str) -> Vec<String> {
    static LINK: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"`[^`\n]+`(?P<after>\]\([^)\s]+\))?|\]\((?P<inline>[^)\s]+)\)|(?m:^\[[^\]]+\]: (?P<reference>\S+))"#).unwrap()
    });
    let (prose, _) = without_code(text);
    LINK.captures_iter(&prose)
        .filter_map(|link| {
            let after = link.name("after").map(|after| after.as_str().trim_matches(['[', ']', '(', ')']));
            after
                .or_else(|| Some(link.name("inline").or_else(|| link.name("reference"))?.as_str()))
                .map(str::to_owned)
        })
        .collect()
}

/// The anchors that GitHub gives to the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let (prose, _) = without_code(text);
    let mut anchors = BTreeSet::new();
    for line in prose.lines() {
        let level = line.len() - line.trim_start_matches('#').len();
        let Some(heading) = line[level..].strip_prefix(' ').filter(|_| (1..=6).contains(&level)) else {
            continue;
        };
        let slug = slug(heading);
        let mut numbered =
            (0..).map(|number| if number == 0 { slug.clone() } else { format!("{slug}-{number}") });
        let free = numbered.find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// Lower case; spaces become hyphens; other than letters, digits, hyphens and underscores is left out. Of a link its
/// text counts.
fn slug(heading: &str) -> String {
    static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap());
    LINK.replace_all(heading.trim(), "$1")
        .chars()
        .filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ => character.is_alphanumeric().then_some(character),
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// Why a link of a page leads nowhere.
fn broken(page: &Path, link: &str) -> Option<String> {
    if ["https://", "http://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
    if !target.exists() {
        return Some("there is no such file".to_owned());
    }
    let anchor = anchor?;
    let is_page = target.extension().is_some_and(|extension| extension == "md");
    (is_page && !anchors(&read(&target)).contains(anchor)).then(|| "no heading has that anchor".to_owned())
}

#[test]
fn the_readme_is_one_screen() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(
        lines <= MAX_README_LINES,
        "README.md has {lines} lines, at most {MAX_README_LINES} are one screen"
    );
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let links = links(&read(&page));
        let shown = page.strip_prefix(root()).unwrap().display();
        wrong.extend(
            links.iter().filter_map(|link| Some(format!("{shown}: {link}: {}", broken(&page, link)?))),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_page_is_reached_from_the_readme() {
    let mut reached = BTreeSet::new();
    let mut next = vec![root().join("README.md")];
    while let Some(page) = next.pop() {
        let page = page.canonicalize().unwrap();
        if page.extension().is_some_and(|extension| extension == "md") && reached.insert(page.clone()) {
            let links = links(&read(&page)).into_iter();
            let files = links.map(|link| link.split('#').next().unwrap_or_default().to_owned());
            let files = files.filter(|file| !file.is_empty() && !file.contains(':'));
            next.extend(files.map(|file| page.parent().unwrap().join(file)).filter(|file| file.is_file()));
        }
    }
    let lost: Vec<_> =
        pages().into_iter().filter(|page| !reached.contains(&page.canonicalize().unwrap())).collect();
    assert!(lost.is_empty(), "no link leads to {lost:#?}");
}

#[test]
fn every_fence_names_its_language_and_every_example_is_a_test() {
    let documents = read(&root().join("src/lib.rs"));
    for page in pages() {
        let shown = page.strip_prefix(root()).unwrap().display().to_string();
        let text = read(&page);
        let (_, fences) = without_code(&text);
        // Without one, rustdoc takes it for Rust.
        assert!(!fences.contains(&""), "{shown}: a fence without a language; write `text` if it has none");
        let is_guide =
            shown == "README.md" || shown == "docs/performance.md" || shown.starts_with("docs/guides/");
        assert!(
            !is_guide || documents.contains(&format!("\"../{shown}\"")),
            "{shown}: its examples are no tests; add it to the documents of src/lib.rs"
        );
        let has_rust = fences.iter().any(|fence| fence.split(',').next() == Some("rust"));
        assert!(is_guide || !has_rust, "{shown}: Rust in a page whose examples are no tests");
    }
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page =
        "# A page\n\n[a](b.md) and [`c`](d.md#e)\n`[no](link)`\n\n```text\n[no](link)\n```\n[x]: https://f\n";
    assert_eq!(links(page), ["b.md", "d.md#e", "https://f"]);
    let readme = root().join("README.md");
    assert_eq!(broken(&readme, "no-such-file.md").as_deref(), Some("there is no such file"));
    assert_eq!(broken(&readme, "#no-such-heading").as_deref(), Some("no heading has that anchor"));
    assert_eq!(broken(&readme, "docs/guides/options.md#capacity-patterns"), None);
    assert_eq!(broken(&readme, "https://example.org/not/asked"), None);
}

#[test]
fn anchors_are_those_of_github() {
    let page = "# A page\n## `flush_inboxes`, and [more](x.md)!\n## Twice\n### Twice\n```sh\n# not a heading\n```\n#no\n";
    let wanted = ["a-page", "flush_inboxes-and-more", "twice", "twice-1"];
    assert_eq!(anchors(page), BTreeSet::from(wanted.map(str::to_owned)));
    assert_eq!(slug("One, or: `LocalAndRemote`"), "one-or-localandremote");
}
