//! Makes a server's words fit for errors and logs.

/// Most characters of a server's message that an error keeps.
pub const MAX_DETAIL_CHARS: usize = 240;
/// A quoted piece longer than this, in characters, may be the prompt: it is left out.
const MAX_QUOTE_CHARS: usize = 40;
/// A run of token characters this long may be a key, a token or encoded data: it is left out.
const MAX_WORD_CHARS: usize = 31;

/// A server's text made fit for logs and people: one line, shortened, without long quoted pieces
/// (they may be the prompt) and without long words (they may be a key or a token).
pub(super) fn clean(text: &str) -> String {
    // A server may send much; nothing past this can reach the result.
    let text: String = text.chars().take(MAX_DETAIL_CHARS * 8).collect();
    let words: Vec<String> = without_quotes(&text).split_whitespace().map(without_secret).collect();
    let line = words.join(" ");
    if line.chars().count() <= MAX_DETAIL_CHARS {
        return line;
    }
    line.chars().take(MAX_DETAIL_CHARS - 1).chain(['…']).collect()
}

fn without_quotes(text: &str) -> String {
    let chars: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        out.push(c);
        i += 1;
        let close = match c {
            '"' | '`' | '\'' => c,
            '“' => '”',
            '‘' => '’',
            _ => continue,
        };
        // An apostrophe inside a word opens no quotation.
        if c == '\'' && i >= 2 && chars[i - 2].is_alphanumeric() {
            continue;
        }
        let length = chars[i..].iter().position(|c| *c == close).unwrap_or(chars.len() - i);
        let quoted = &chars[i..i + length];
        if length > MAX_QUOTE_CHARS || quoted.iter().any(|c| c.is_whitespace()) {
            out.push('…');
        } else {
            out.extend(quoted);
        }
        i += length;
        if i < chars.len() {
            out.push(close);
            i += 1;
        }
    }
    out
}

fn without_secret(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut run = String::new();
    let flush = |run: &mut String, out: &mut String| {
        if run.chars().count() > MAX_WORD_CHARS {
            out.push('…')
        } else {
            out.push_str(run)
        }
        run.clear();
    };
    for c in word.chars() {
        if c.is_alphanumeric() || "-_.+/=~%*".contains(c) {
            run.push(c);
        } else {
            flush(&mut run, &mut out);
            out.push(c);
        }
    }
    flush(&mut run, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_prompt_or_secret_is_left_out() {
        assert_eq!(clean(&"word ".repeat(500)).chars().count(), MAX_DETAIL_CHARS);
        assert_eq!(clean("an open \"quotation of the prompt"), "an open \"…");
        assert_eq!(clean("Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2ln,"), "Bearer …,");
        assert_eq!(
            clean("it isn't 'messages[1].content', see 'the whole plan'"),
            "it isn't 'messages[1].content', see '…'"
        );
        assert_eq!(clean("two\nlines\u{1b}[31m"), "two lines [31m");
    }
}
