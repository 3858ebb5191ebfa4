//! What holds for any text.

use proptest::prelude::*;

use super::{file, here, session};
use crate::mask::sanitise::{self, Hosts, Kind};
use crate::mask::{Certainty, RestoreError};

const KNOWN: &str = "zq7-Tr0ub4dor&3/+x";

/// Text with a good share of what the rules look for.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => any::<String>(),
        2 => "[ -~\n]{0,40}",
        2 => Just("password = \"hunter2!x\"\n".to_owned()),
        2 => Just("ghp_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX".to_owned()),
        1 => Just("-----BEGIN RSA PRIVATE KEY-----\nMIIabc123\n".to_owned()),
        1 => Just("-----END RSA PRIVATE KEY-----\n".to_owned()),
        1 => Just("https://alice:s3cr3t1@host/".to_owned()),
        1 => Just("[[secret:jwt:abc123]]".to_owned()),
        1 => Just("%67%68p_\u{200B}".to_owned()),
        1 => Just("\\u0067&#104;".to_owned()),
        1 => Just("kind: Secret\ndata:\n  a: c2VjcmV0MTIz\n".to_owned()),
        1 => Just("curl -u a:b9x7 https://x\n".to_owned()),
        2 => Just(KNOWN.to_owned()),
        1 => Just("\" + \"".to_owned()),
        1 => Just("Authorization: Bearer ".to_owned()),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn masking_never_panics_and_what_it_gives_stays(text in text()) {
        let session = session(&[KNOWN]);
        let once = session.mask_text(&text, &here());
        prop_assert!(!once.text.contains(KNOWN));
        let again = session.mask_again(&once.text, &here());
        prop_assert_eq!(&again.text, &once.text);
        prop_assert!(again.hits.is_empty() && again.forged == 0, "{:?}", again);
        // The same as text from outside: the placeholders break, and nothing else happens.
        let outside = session.mask_text(&once.text, &here());
        let third = session.mask_text(&outside.text, &here());
        prop_assert_eq!(outside.text, third.text);
    }

    #[test]
    fn findings_lie_on_characters_in_order(text in text()) {
        let findings = session(&[KNOWN]).scan_outgoing(&text);
        let mut at = 0;
        for finding in findings {
            prop_assert!(finding.start >= at && finding.start < finding.end);
            prop_assert!(text.get(finding.start..finding.end).is_some());
            at = finding.end;
        }
    }

    #[test]
    fn known_values_are_found_exactly_where_they_stand(before in any::<String>(), after in any::<String>()) {
        let text = format!("{before}{KNOWN}{after}");
        let findings = session(&[KNOWN]).scan_outgoing(&text);
        let at = before.len();
        prop_assert!(findings.iter().any(|f| f.certainty == Certainty::Known && f.start <= at && f.end >= at + KNOWN.len()));
    }

    #[test]
    fn a_stream_hides_what_the_whole_text_hides(text in text(), cuts in prop::collection::vec(0_usize..400, 0..6)) {
        let session = session(&[KNOWN]);
        let mut stream = session.stream(here());
        let mut out = String::new();
        let mut at = 0;
        for cut in cuts {
            let mut end = (at + cut).min(text.len());
            while !text.is_char_boundary(end) { end += 1; }
            out.push_str(&stream.push(&text[at..end]));
            at = end;
        }
        out.push_str(&stream.push(&text[at..]));
        out.push_str(&stream.finish().0);
        prop_assert!(!out.contains(KNOWN));
        prop_assert!(!out.contains("ghp_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX"));
    }

    #[test]
    fn json_of_any_shape_is_masked(text in text(), key in "[a-zA-Z]{1,12}") {
        let mut value = serde_json::json!({ key: [text.clone(), {"value": text, "isSecret": true, "n": 5}] });
        session(&[KNOWN]).mask_json(&mut value, &here());
        prop_assert!(!value.to_string().contains(KNOWN));
    }

    #[test]
    fn an_untouched_file_comes_back_as_it_was(lines in prop::collection::vec("[a-z =]{0,20}|password = \"hunter2!x\"|token: ghp_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX", 1..12)) {
        let original = lines.join("\n");
        let session = session(&[]);
        let origin = file("/a.yml");
        let masked = session.mask_text(&original, &origin).text;
        prop_assert_eq!(session.restore_file(&origin, &original, &masked), Ok(original.clone()));
        let other = session.restore_file(&file("/b.yml"), &original, &masked);
        let allowed = masked == original;
        prop_assert_eq!(other.is_ok(), allowed);
        prop_assert!(allowed || matches!(other, Err(RestoreError::NotAllowedHere(_))));
    }

    #[test]
    fn cleaning_never_panics_and_twice_is_once(text in text()) {
        for kind in [Kind::Prose, Kind::Code] {
            let once = sanitise::incoming(&text, kind).text;
            prop_assert_eq!(&sanitise::incoming(&once, kind).text, &once);
        }
        let once = sanitise::plain(&text).text;
        prop_assert_eq!(&sanitise::plain(&once).text, &once);
        let hosts = Hosts::new(["dev.azure.com"]).unwrap();
        let once = sanitise::html(&text, &hosts).text;
        prop_assert_eq!(&sanitise::html(&once, &hosts).text, &once);
    }

    #[test]
    fn markdown_comes_to_rest(text in "([!\\[\\]()<>:#\"'/a-z \n`*-]|https://evil\\.example|<img src=x>|!\\[a\\]\\(//e\\.example\\)){0,60}") {
        let hosts = Hosts::new(["dev.azure.com"]).unwrap();
        let once = sanitise::markdown(&text, &hosts);
        let mut page = String::new();
        pulldown_cmark::html::push_html(&mut page, pulldown_cmark::Parser::new(&once.text));
        prop_assert!(!page.contains("evil.example\" alt") && !page.contains("<img src=x"), "{}", page);
        prop_assert_eq!(&sanitise::markdown(&once.text, &hosts).text, &once.text);
    }
}
