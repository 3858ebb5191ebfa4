//! Reading Rust: only as much as is needed to find paths.

use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Word(String),
    Path,
    Sign(char),
}

/// The words and signs of a source text, without comments, strings, characters and lifetimes.
pub fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let at = |i: usize| text.get(i).copied().unwrap_or('\0');
    let (mut found, mut i) = (Vec::new(), 0);
    while i < text.len() {
        match at(i) {
            '/' if at(i + 1) == '/' => i = after_line(&text, i),
            '/' if at(i + 1) == '*' => i = after_block(&text, i),
            '"' => i = after_string(&text, i + 1),
            '\'' if at(i + 1) == '\\' => i = after_character(&text, i + 3),
            '\'' if at(i + 2) == '\'' => i += 3,
            '\'' => i += 1,
            ':' if at(i + 1) == ':' => {
                found.push(Token::Path);
                i += 2;
            }
            c if c.is_alphabetic() || c == '_' => {
                let start = i;
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                let word: String = text[start..i].iter().collect();
                match raw_string(&text, i, &word) {
                    Some(end) => i = end,
                    None => found.push(Token::Word(word)),
                }
            }
            c => {
                if !c.is_whitespace() {
                    found.push(Token::Sign(c));
                }
                i += 1;
            }
        }
    }
    found
}

fn after_line(text: &[char], mut i: usize) -> usize {
    while i < text.len() && text[i] != '\n' {
        i += 1;
    }
    i
}

fn after_block(text: &[char], mut i: usize) -> usize {
    let mut depth = 0;
    while i + 1 < text.len() {
        match (text[i], text[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    text.len()
}

fn after_string(text: &[char], mut i: usize) -> usize {
    while i < text.len() && text[i] != '"' {
        i += if text[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn after_character(text: &[char], mut i: usize) -> usize {
    while i < text.len() && text[i] != '\'' {
        i += 1;
    }
    i + 1
}

/// The end of a raw string that begins with `word`, when one does.
fn raw_string(text: &[char], i: usize, word: &str) -> Option<usize> {
    if !matches!(word, "r" | "br" | "cr") {
        return None;
    }
    let fences = text[i..].iter().take_while(|c| **c == '#').count();
    if text.get(i + fences) != Some(&'"') {
        return None;
    }
    let mut end = i + fences + 1;
    while end < text.len() {
        let closed =
            text[end] == '"' && text[end + 1..].iter().take(fences).filter(|c| **c == '#').count() == fences;
        end += 1;
        if closed {
            return Some(end + fences);
        }
    }
    Some(end)
}

/// The rooms that a file names, in `use` and in the middle of code. `depth` is how many modules
/// the file lies below the crate: 1 for `src/worker.rs`, 2 for `src/journal/log.rs`.
pub fn rooms_named(source: &str, depth: usize) -> BTreeSet<String> {
    let tokens = tokens(source);
    let word = |i: usize| match tokens.get(i) {
        Some(Token::Word(word)) => word.as_str(),
        _ => "",
    };
    let is = |i: usize, token: &Token| tokens.get(i) == Some(token);
    let mut rooms = BTreeSet::new();
    // Where inline modules end, as depths of braces.
    let (mut braces, mut inline) = (0_usize, Vec::new());
    let mut i = 0;
    while i < tokens.len() {
        match &tokens[i] {
            Token::Sign('{') => braces += 1,
            Token::Sign('}') => {
                braces = braces.saturating_sub(1);
                if inline.last() == Some(&braces) {
                    inline.pop();
                }
            }
            Token::Word(name) if name == "mod" && is(i + 2, &Token::Sign('{')) => inline.push(braces),
            Token::Word(name) if matches!(name.as_str(), "crate" | "ado_coworker") => {
                if is(i + 1, &Token::Path) {
                    first_names(&tokens, i + 2, &mut rooms);
                } else if word(i + 1) == "as" {
                    rooms.insert("the crate by another name".to_owned());
                }
            }
            Token::Word(name) if name == "super" && !(i > 0 && is(i - 1, &Token::Path)) => {
                let mut levels = 1;
                while is(i + 1, &Token::Path) && word(i + 2) == "super" {
                    (levels, i) = (levels + 1, i + 2);
                }
                if levels >= depth + inline.len() && is(i + 1, &Token::Path) {
                    first_names(&tokens, i + 2, &mut rooms);
                }
            }
            _ => {}
        }
        i += 1;
    }
    rooms
}

/// The first name of a path, or of each path in a group, that begins at `i`.
fn first_names(tokens: &[Token], i: usize, rooms: &mut BTreeSet<String>) {
    match tokens.get(i) {
        Some(Token::Word(word)) if word != "self" => {
            rooms.insert(word.clone());
        }
        Some(Token::Sign('*')) => {
            rooms.insert("everything of the crate".to_owned());
        }
        Some(Token::Sign('{')) => {
            let (mut depth, mut i) = (1, i + 1);
            first_names(tokens, i, rooms);
            while depth > 0 && i < tokens.len() {
                match tokens[i] {
                    Token::Sign('{') => depth += 1,
                    Token::Sign('}') => depth -= 1,
                    Token::Sign(',') if depth == 1 => first_names(tokens, i + 1, rooms),
                    _ => {}
                }
                i += 1;
            }
        }
        _ => {}
    }
}
