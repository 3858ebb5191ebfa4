//! Text that is longer than the service takes: cut where a person would cut it, and nothing lost.

use crate::azure_devops::limits;

/// Kept free in every piece, for the fence of a code block that is closed and opened again.
const FENCE_ROOM: usize = 40;
/// No piece is made smaller than this: each must be longer than a fence that is opened again.
const SMALLEST: usize = 200;
/// A break is looked for in the last three quarters of a piece only.
const EARLIEST: usize = 4;
/// What closes a description whose rest stands elsewhere.
const CONTINUED: &str = "\n\n*Continued in a comment below.*";
/// What opens the rest.
const REST: &str = "**Description, continued**\n\n";

/// The last boundary of a character at or before `at`.
pub(super) fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The first boundary of a character at or after `at`.
pub(super) fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// A title of at most `limit` UTF-16 units, cut at a word; whether it was cut.
pub(super) fn title(text: &str, limit: usize) -> (String, bool) {
    let text = text.trim();
    if limits::length(text) <= limit {
        return (text.to_owned(), false);
    }
    let window = limits::cut(text, limit.saturating_sub(1));
    let at = last(window, |c| c.is_whitespace()).unwrap_or(window.len());
    let kept = window[..at].trim_end().trim_end_matches([',', ';', ':', '-']);
    (format!("{kept}…"), true)
}

/// A title that was cut, whole, before the text that it is the title of.
pub(super) fn with_whole_title(title: &str, text: &str) -> String {
    format!("**{}**\n\n{text}", title.trim()).trim_end().to_owned()
}

/// A description that fits, with `footer` at its end, and what did not fit, as comments.
pub(super) fn description(text: &str, footer: &str) -> (String, Vec<String>) {
    let text = text.trim_end();
    let room = limits::PULL_REQUEST_DESCRIPTION.saturating_sub(limits::length(footer));
    if limits::length(text) <= room {
        return (format!("{text}{footer}"), Vec::new());
    }
    let room = room.saturating_sub(limits::length(CONTINUED));
    let mut pieces = pieces(text, room, limits::COMMENT - limits::length(REST)).into_iter();
    let head = pieces.next().unwrap_or_default();
    (format!("{head}{CONTINUED}{footer}"), pieces.map(|piece| format!("{REST}{piece}")).collect())
}

/// A comment as the one or several comments that it fits into.
pub(super) fn comments(text: &str) -> Vec<String> {
    pieces(text, limits::COMMENT, limits::COMMENT)
}

/// Cuts at a paragraph, else a line, else a word. A code block that is cut is closed and opened
/// again.
fn pieces(text: &str, first: usize, further: usize) -> Vec<String> {
    let (first, further) = (first.max(SMALLEST), further.max(SMALLEST));
    let (mut pieces, mut rest, mut limit) = (Vec::new(), text.to_owned(), first);
    while limits::length(&rest) > limit {
        let window = limits::cut(&rest, limit.saturating_sub(FENCE_ROOM));
        let (head, tail) = rest.split_at(break_in(window));
        let (head, tail) = (head.trim_end(), tail.trim_start_matches(['\n', '\r']));
        let (head, tail) = match open_fence(head) {
            None => (head.to_owned(), tail.to_owned()),
            Some((fence, opening)) => (format!("{head}\n{fence}"), format!("{opening}\n{tail}")),
        };
        pieces.push(head);
        (rest, limit) = (tail, further);
    }
    pieces.push(rest);
    pieces
}

fn break_in(window: &str) -> usize {
    let earliest = window.len() / EARLIEST;
    let paragraphs = window.rmatch_indices("\n\n").map(|(at, _)| at).take_while(|at| *at > earliest);
    let outside = paragraphs.into_iter().find(|at| open_fence(&window[..*at]).is_none());
    outside
        .or_else(|| last(window, |c| c == '\n'))
        .or_else(|| last(window, char::is_whitespace))
        .unwrap_or(window.len())
}

/// The last place of such a character that is not too near to the beginning.
fn last(window: &str, wanted: impl Fn(char) -> bool) -> Option<usize> {
    window.rfind(wanted).filter(|at| *at > window.len() / EARLIEST)
}

/// The code block that is open at the end of `text`: how it is closed, and how it is opened again.
fn open_fence(text: &str) -> Option<(&'static str, String)> {
    let mut open: Option<(&'static str, String)> = None;
    for line in text.lines().map(str::trim_start) {
        let Some(fence) = ["```", "~~~"].into_iter().find(|fence| line.starts_with(fence)) else { continue };
        match &open {
            Some((closes, _)) if *closes == fence => open = None,
            Some(_) => {}
            None => open = Some((fence, limits::cut(line.trim_end(), FENCE_ROOM / 2).to_owned())),
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_title_is_cut_at_a_word() {
        assert_eq!(title(" Fix it ", 20), ("Fix it".into(), false));
        assert_eq!(title("Fix the login timeout", 16), ("Fix the login…".into(), true));
        assert_eq!(title(&"x".repeat(30), 10), (format!("{}…", "x".repeat(9)), true));
        let (cut, _) = title(&"😀 ".repeat(300), 400);
        assert!(limits::length(&cut) <= 400);
    }

    #[test]
    fn a_description_is_cut_at_a_paragraph_and_goes_on_in_comments() {
        let paragraph = "word ".repeat(199).trim_end().to_owned();
        let text = vec![paragraph.clone(); 6].join("\n\n");
        let footer = "\n\n---\nfooter";
        let (head, rest) = description(&text, footer);
        assert!(limits::length(&head) <= limits::PULL_REQUEST_DESCRIPTION && head.ends_with(footer));
        assert!(head.starts_with(&vec![paragraph.clone(); 3].join("\n\n")) && head.contains(CONTINUED));
        assert_eq!(rest, [format!("{REST}{}", vec![paragraph; 3].join("\n\n"))]);
        assert_eq!(description("short", footer), (format!("short{footer}"), Vec::new()));
    }

    #[test]
    fn a_code_block_that_is_cut_is_whole_on_both_sides() {
        let text = format!("```rust\n{}```\nend", "let x = 1;\n".repeat(30));
        let found = pieces(&text, 200, 200);
        assert!(found.len() > 1);
        for piece in &found {
            assert_eq!(piece.matches("```").count() % 2, 0, "{piece}");
            assert!(limits::length(piece) <= 200);
        }
        assert!(found[1].starts_with("```rust\nlet x"), "{}", found[1]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_everything_fits(text in "[a-c \n😀]{0,900}") {
            let found = pieces(&text, 250, 200);
            prop_assert!(found.iter().all(|piece| limits::length(piece) <= 250));
            let plain = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(plain(&found.join(" ")), plain(&text));
        }
    }
}
