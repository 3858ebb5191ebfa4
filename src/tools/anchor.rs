//! Where quoted code stands in a file: lines and characters are counted here, never by the model.

/// The place of a quotation: lines and characters count from 1, characters in UTF-16 units; the
/// end is the character after the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start_line: u32,
    pub(super) start_offset: u32,
    pub(super) end_line: u32,
    pub(super) end_offset: u32,
}

/// What looking for a quotation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is there once.
    Once(Span),
    /// It begins in several lines.
    Often(Vec<usize>),
    /// It is not there.
    Nowhere,
}

/// Looks for `quote` in `text`, both with LF and without a byte-order mark. What stands there
/// literally once is it; else whole lines decide, whatever their indentation.
pub(super) fn find(text: &str, quote: &str) -> Found {
    let quote = quote.trim_matches('\n').trim_end();
    if quote.trim().is_empty() {
        return Found::Nowhere;
    }
    let literal: Vec<usize> = text.match_indices(quote).map(|(at, _)| at).take(MANY).collect();
    if let [at] = literal[..] {
        return Found::Once(span(text, at, at + quote.len()));
    }
    let lines: Vec<&str> = text.split('\n').collect();
    let wanted: Vec<&str> = quote.lines().map(str::trim).collect();
    let same = |part: &[&str]| part.iter().zip(&wanted).all(|(line, wanted)| line.trim() == *wanted);
    let whole: Vec<usize> = lines
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, part)| same(part))
        .map(|(i, _)| i)
        .take(MANY)
        .collect();
    match (whole.as_slice(), literal.as_slice()) {
        ([first], _) => Found::Once(span_of_lines(&lines, *first, wanted.len())),
        ([], []) => Found::Nowhere,
        ([], literal) => Found::Often(literal.iter().map(|at| line_of(text, *at)).collect()),
        (whole, _) => Found::Often(whole.iter().map(|line| line + 1).collect()),
    }
}

/// Most places that are told of a quotation.
const MANY: usize = 5;

fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

fn span(text: &str, start: usize, end: usize) -> Span {
    let place = |at: usize| {
        let from = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        (number(line_of(text, at)), number(text[from..at].encode_utf16().count() + 1))
    };
    let ((start_line, start_offset), (end_line, end_offset)) = (place(start), place(end));
    Span { start_line, start_offset, end_line, end_offset }
}

fn span_of_lines(lines: &[&str], first: usize, count: usize) -> Span {
    let last = lines.get(first + count - 1).copied().unwrap_or_default();
    Span {
        start_line: number(first + 1),
        start_offset: 1,
        end_line: number(first + count),
        end_offset: number(last.encode_utf16().count() + 1),
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(start: (u32, u32), end: (u32, u32)) -> Found {
        let ((start_line, start_offset), (end_line, end_offset)) = (start, end);
        Found::Once(Span { start_line, start_offset, end_line, end_offset })
    }

    const TEXT: &str = "a\n  const x = 30;\nb = 1\nab = 1\n  é😀 = 2;\nlast";

    #[test]
    fn a_quotation_gets_both_ends_counted_as_the_service_counts() {
        assert_eq!(find(TEXT, "x = 30"), once((2, 9), (2, 15)));
        assert_eq!(find(TEXT, "  const x = 30;\nb = 1\n"), once((2, 1), (3, 6)));
        assert_eq!(find(TEXT, "= 2;"), once((5, 7), (5, 11)));
        assert_eq!(find(TEXT, "last"), once((6, 1), (6, 5)));
    }

    #[test]
    fn whole_lines_decide_where_letters_do_not() {
        assert_eq!(find(TEXT, "b = 1"), once((3, 1), (3, 6)));
        assert_eq!(find(TEXT, "const x = 30;\n    b = 1"), once((2, 1), (3, 6)));
        assert_eq!(find("x\ny\nx\n", "x"), Found::Often(vec![1, 3]));
        assert_eq!(find("ax\nbx\n", "x"), Found::Often(vec![1, 2]));
        assert_eq!(find(TEXT, "const y = 30;"), Found::Nowhere);
        assert_eq!(find(TEXT, " \n"), Found::Nowhere);
    }
}
