//! Whether a text calls somebody, by identity id: names in a text prove nothing.

/// Whether `text` mentions the identity `id`: as `@<GUID>` in Markdown (FACTS §8), or as the link
/// that the editor of work items writes in HTML.
pub(in crate::agent) fn mentions(text: &str, id: &str) -> bool {
    if id.is_empty() {
        return false;
    }
    let (text, id) = (text.to_ascii_lowercase(), id.to_ascii_lowercase());
    let markdown = format!("@<{id}>");
    // A Markdown text that was stored as HTML has its angle brackets escaped.
    let escaped = format!("@&lt;{id}&gt;");
    text.contains(&markdown) || text.contains(&escaped) || in_html(&text, &id)
}

/// `<a href="#" data-vss-mention="version:2.0,{id}">@Name</a>`.
fn in_html(text: &str, id: &str) -> bool {
    text.split("data-vss-mention=").skip(1).any(|rest| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let value = quote.and_then(|quote| rest[1..].split(quote).next());
        value.is_some_and(|value| value.split(',').any(|part| part.trim() == id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "44444444-DDDD-4ddd-8ddd-444444444444";

    #[test]
    fn only_the_markup_of_a_mention_calls() {
        let low = ID.to_lowercase();
        for text in [
            format!("hi @<{ID}> please"),
            format!("hi @<{low}>, please"),
            format!("<div>@&lt;{low}&gt; look</div>"),
            format!("<a href=\"#\" data-vss-mention=\"version:2.0,{low}\">@ado-coworker</a> look"),
            format!("<a data-vss-mention='version:2.0,{ID}'>@x</a>"),
        ] {
            assert!(mentions(&text, ID), "{text}");
        }
        for text in [
            "@ado-coworker please".to_owned(),
            format!("@{low} please"),
            format!("<{low}>"),
            "<a href=\"#\" data-vss-mention=\"version:2.0,55555555-dddd-4ddd-8ddd-444444444444\">@ado-coworker</a>".into(),
            format!("<a data-vss-mention=version:2.0,{low}>"),
        ] {
            assert!(!mentions(&text, ID), "{text}");
        }
        assert!(!mentions("@<>", ""));
    }

    proptest! {
        #[test]
        fn any_text_can_be_looked_at(text in "\\PC{0,200}", tail in "\\PC{0,20}") {
            mentions(&format!("{text}data-vss-mention={tail}"), ID);
            let calls = format!("{text}@<{ID}>{tail}");
            prop_assert!(mentions(&calls, ID), "{}", calls);
        }
    }
}
