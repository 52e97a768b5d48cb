//! Lua text as lines of tokens: enough to tell code from comments and strings, and to read a slot line.

/// One line of a Lua file.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) text: &'a str,
    /// The code, without comments.
    pub(crate) tokens: Vec<Token<'a>>,
    /// What stands behind `--`; long comments (`--[[ ]]`) are left out.
    pub(crate) comment: Option<&'a str>,
}

impl Line<'_> {
    /// Which of `KEYS` and `ARGV` the code names.
    pub(crate) fn raw_table(&self) -> Option<&'static str> {
        self.tokens.iter().find_map(|token| match token {
            Token::Word("KEYS") => Some("KEYS"),
            Token::Word("ARGV") => Some("ARGV"),
            _ => None,
        })
    }
}

/// One token of Lua.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A name or a keyword.
    Word(&'a str),
    Number(&'a str),
    /// A string, whatever it holds.
    Text,
    Symbol(char),
}

/// What is open at the end of a line.
enum Open {
    Code,
    /// `[==[`, with its number of `=`: a string or a comment.
    Bracket(usize),
    /// A quoted string, continued by a backslash at the end of its line.
    Quote(char),
}

/// Splits a Lua file into its lines. Wrong Lua is not noticed: the server finds it when the script is loaded.
pub(crate) fn lines(source: &str) -> Vec<Line<'_>> {
    let mut open = Open::Code;
    source.lines().map(|text| line(text, &mut open)).collect()
}

fn line<'a>(text: &'a str, open: &mut Open) -> Line<'a> {
    let mut line = Line { text, tokens: Vec::new(), comment: None };
    let mut rest = text;
    loop {
        match *open {
            Open::Code => {}
            Open::Bracket(level) => match rest.split_once(&format!("]{}]", "=".repeat(level))) {
                Some((_, after)) => rest = after,
                None => return line,
            },
            Open::Quote(quote) => match after_quote(rest, quote) {
                Quoted::Closed(after) => rest = after,
                Quoted::Continued => return line,
                Quoted::Unfinished => rest = "",
            },
        }
        *open = Open::Code;
        let Some(first) = rest.chars().next() else {
            return line;
        };
        if let Some(comment) = rest.strip_prefix("--") {
            let Some((level, after)) = long_bracket(comment) else {
                line.comment = Some(comment);
                return line;
            };
            *open = Open::Bracket(level);
            rest = after;
        } else if let Some((level, after)) = long_bracket(rest) {
            line.tokens.push(Token::Text);
            *open = Open::Bracket(level);
            rest = after;
        } else if matches!(first, '"' | '\'') {
            line.tokens.push(Token::Text);
            *open = Open::Quote(first);
            rest = after_first(rest);
        } else if is_word(first) {
            let (word, after) = split_while(rest, is_word);
            line.tokens.push(if first.is_ascii_digit() { Token::Number(word) } else { Token::Word(word) });
            rest = after;
        } else {
            if !first.is_whitespace() {
                line.tokens.push(Token::Symbol(first));
            }
            rest = after_first(rest);
        }
    }
}

/// `[[`, `[=[` and so on at the start of the text: the number of `=`, and what comes behind.
fn long_bracket(text: &str) -> Option<(usize, &str)> {
    let (equals, after) = split_while(text.strip_prefix('[')?, |char| char == '=');
    Some((equals.len(), after.strip_prefix('[')?))
}

enum Quoted<'a> {
    Closed(&'a str),
    Continued,
    /// Wrong Lua: the string ends with its line.
    Unfinished,
}

fn after_quote(text: &str, quote: char) -> Quoted<'_> {
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char == quote {
            return Quoted::Closed(chars.as_str());
        }
        if char == '\\' && chars.next().is_none() {
            return Quoted::Continued;
        }
    }
    Quoted::Unfinished
}

fn after_first(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|char| !belongs(char)).unwrap_or(text.len()))
}
