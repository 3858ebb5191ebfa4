//! Times and Markdown for people.

use std::collections::HashSet;

use jiff::Timestamp;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

/// How long ago `then` was, in words; a date when it is more than a month.
pub fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second());
    let words = |count: i64, unit: &str| format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" });
    match seconds {
        ..60 => "just now".to_owned(),
        60..3_600 => words(seconds / 60, "minute"),
        3_600..86_400 => words(seconds / 3_600, "hour"),
        86_400..2_592_000 => words(seconds / 86_400, "day"),
        _ => then.strftime("%-d %b %Y").to_string(),
    }
}

/// The instant for a tooltip.
pub fn instant(then: Timestamp) -> String {
    then.strftime("%-d %b %Y, %H:%M:%S UTC").to_string()
}

/// The first eight digits of an object id.
pub fn short(sha: &str) -> String {
    sha.get(..8).unwrap_or(sha).to_owned()
}

/// Markdown as safe HTML. `#12` becomes a link to that work item of the project at `path`.
pub fn markdown(text: &str, path: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut quiet = 0usize;
    let events = Parser::new_ext(text, options).map(|event| {
        match &event {
            Event::Start(Tag::Link { .. } | Tag::CodeBlock(_)) => quiet += 1,
            Event::End(TagEnd::Link | TagEnd::CodeBlock) => quiet = quiet.saturating_sub(1),
            Event::Text(words) if quiet == 0 && words.contains('#') => {
                return Event::InlineHtml(mention(words, path).into());
            }
            Event::SoftBreak => return Event::HardBreak,
            _ => {}
        }
        event
    });
    let mut rendered = String::new();
    html::push_html(&mut rendered, events);
    clean(&rendered)
}

/// HTML as the service stores it, made safe.
pub fn clean(html: &str) -> String {
    ammonia::Builder::default()
        .rm_tags(["img"])
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .add_tags(["input"])
        .add_tag_attributes("input", ["type", "checked", "disabled"])
        .clean(html)
        .to_string()
}

fn mention(words: &str, path: &str) -> String {
    let mut linked = String::new();
    let mut rest = words;
    while let Some(at) = rest.find('#') {
        let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        linked.push_str(&escape(&rest[..at]));
        let id = &rest[at + 1..at + 1 + digits];
        if digits == 0 || rest[..at].ends_with(char::is_alphanumeric) {
            linked.push_str(&format!("#{id}"));
        } else {
            linked.push_str(&format!("<a href=\"{path}/_workitems/edit/{id}\">#{id}</a>"));
        }
        rest = &rest[at + 1 + digits..];
    }
    linked.push_str(&escape(rest));
    linked
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_made_safe_and_work_items_are_linked() {
        let html = markdown(
            "**a** <script>x</script> ![i](http://e/x.png) [j](javascript:1) see #12 & a#3 `#4`",
            "/o/p",
        );
        assert!(
            html.contains("<strong>a</strong>") && html.contains("href=\"/o/p/_workitems/edit/12\""),
            "{html}"
        );
        for bad in ["script", "img", "javascript", "edit/3", "edit/4"] {
            assert!(!html.contains(bad), "{bad} in {html}");
        }
    }

    #[test]
    fn times_are_in_words() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(ago(at(59), at(0)), "just now");
        assert_eq!(ago(at(60), at(0)), "1 minute ago");
        assert_eq!(ago(at(7_300), at(0)), "2 hours ago");
        assert_eq!(ago(at(3_000_000), at(0)), "1 Jan 1970");
    }
}
