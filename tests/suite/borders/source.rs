//! Reads which paths a Rust file names: those of its `use` items, and those that begin with `crate`, `super`, `self` or
//! a module of its own. Comments, texts, bodies of macros and what stands under `#[cfg(test)]` do not count.

/// A path that a file names, such as `["crate", "error", "Result"]`.
pub(super) type Path = Vec<String>;

/// What a file names.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The paths of `use` items, each with the name that it binds.
    pub(super) uses: Vec<(String, Path)>,
    /// Paths of two and more segments elsewhere in the code.
    pub(super) paths: Vec<Path>,
}

impl Source {
    pub(super) fn read(text: &str) -> Self {
        let tokens = without_tests_and_macros(&tokens(&without_comments_and_texts(text)));
        let mut source = Self::default();
        let mut at = 0;
        while at < tokens.len() {
            // `use<'a>` in a bound is no item.
            if tokens[at] == "use" && tokens.get(at + 1).is_some_and(|next| next != "<") {
                at = source.read_use(&tokens, at + 1, &[]);
            } else if tokens[at] == "pub" && tokens.get(at + 1).is_some_and(|next| next == "(") {
                // `pub(in crate::redis)` names who may see the item.
                at += tokens[at..].iter().take_while(|token| *token != ")").count();
            } else if is_name(&tokens[at]) {
                let mut path = vec![tokens[at].clone()];
                while tokens.get(at + 1).is_some_and(|token| token == "::")
                    && tokens.get(at + 2).is_some_and(|token| is_name(token))
                {
                    path.push(tokens[at + 2].clone());
                    at += 2;
                }
                // A macro is found by its name, not by its place.
                let is_macro = tokens.get(at + 1).is_some_and(|token| token == "!");
                if path.len() > 1 && !is_macro {
                    source.paths.push(path);
                }
                at += 1;
            } else {
                at += 1;
            }
        }
        source
    }

    /// Reads one tree of a `use` item that stands under `prefix`. Returns where the tree ends.
    fn read_use(&mut self, tokens: &[String], mut at: usize, prefix: &[String]) -> usize {
        let mut path = prefix.to_vec();
        while let Some(token) = tokens.get(at) {
            match token.as_str() {
                "::" => at += 1,
                "{" => {
                    at += 1;
                    while tokens.get(at).is_some_and(|token| token != "}") {
                        at = self.read_use(tokens, at, &path);
                        if tokens.get(at).is_some_and(|token| token == ",") {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                "as" => {
                    let alias = tokens.get(at + 1).cloned().unwrap_or_default();
                    self.uses.push((alias, path));
                    return at + 2;
                }
                "self" if !path.is_empty() => at += 1,
                name if is_name(name) || name == "*" => {
                    path.push(token.clone());
                    at += 1;
                }
                _ => break,
            }
        }
        if let Some(last) = path.last().cloned() {
            self.uses.push((last, path));
        }
        at
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The text with spaces in place of comments, and nothing between the marks of texts and characters.
fn without_comments_and_texts(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if next == '"' {
            length_of_text(rest)
        } else if next == 'r' && !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            length_of_raw_text(rest)
        } else if next == '\'' {
            length_of_character(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

fn length_of_text(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Zero if it is no raw text but a name with an `r`.
fn length_of_raw_text(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 2 + hashes;
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

/// Zero if it is no character but a lifetime.
fn length_of_character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |at| 3 + at + 1),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            let mut word = c.to_string();
            while let Some(next) = chars.next_if(|next| next.is_alphanumeric() || *next == '_') {
                word.push(next);
            }
            tokens.push(word);
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            tokens.push("::".into());
        } else if !c.is_whitespace() {
            tokens.push(c.into());
        }
    }
    tokens
}

/// The tokens without the items under `#[cfg(test)]` and without the definitions of macros: what these name is looked up
/// where they are used.
fn without_tests_and_macros(tokens: &[String]) -> Vec<String> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let heads: [&[&str]; 2] = [&["#", "[", "cfg", "(", "test", ")", "]"], &["macro_rules", "!"]];
        let begins = |head: &&&[&str]| {
            head.len() <= tokens.len() - at && head.iter().zip(&tokens[at..]).all(|(a, b)| a == b)
        };
        if let Some(head) = heads.iter().find(begins) {
            at = end_of_item(tokens, at + head.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Behind the `;` or the closing brace that ends the item.
fn end_of_item(tokens: &[String], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth <= 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}
