//! Canaries: secrets planted in every disguise and every structure.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::SecretString;
use serde_json::json;

use super::sample::{ALNUM, Dice};
use super::{file, here, masked, masker, session};
use crate::mask::{Certainty, KnownError, MAX_PLACEHOLDER_BYTES, MAX_TEXT_BYTES, Masker, RestoreError};

fn github() -> String {
    format!("ghp_{}", Dice(11).text(ALNUM, 36))
}

fn old_pat() -> String {
    Dice(12).text("abcdefghijklmnopqrstuvwxyz234567", 52)
}

fn storage_key() -> String {
    format!("{}+ASt{}Ag==", Dice(13).text(ALNUM, 76), Dice(14).text(ALNUM, 4))
        .replace("Ag==", &format!("{}A==", Dice(15).text(ALNUM, 1)))
}

/// `value` in every form that §3 promises to see.
fn forms(value: &str) -> Vec<String> {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    vec![
        value.to_owned(),
        STANDARD.encode(value),
        STANDARD.encode(format!(":{value}")),
        STANDARD.encode(format!("u:{value}\n")),
        URL_SAFE_NO_PAD.encode(value),
        STANDARD.encode(STANDARD.encode(value)),
        hex.to_uppercase(),
        hex,
        percent,
    ]
}

#[test]
fn tokens_are_hidden_in_every_disguise() {
    for token in [github(), old_pat(), storage_key()] {
        let (left, right) = token.split_at(token.len() / 2);
        let wide: String = token
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { char::from_u32(c as u32 + 0xFEE0).unwrap() } else { c })
            .collect();
        let mut disguises = forms(&token);
        disguises.extend([
            format!("{left}\u{200B}{right}"),
            format!("{left}\u{E0041}\u{2060}{right}"),
            wide,
            format!("{left}\\\n{right}"),
            format!("{left}\n    {right}"),
            format!("2026-11-21T22:41:03.1234567Z {left}\n2026-11-21T22:41:03.2234567Z {right}"),
            format!("\"{left}\" +\n    \"{right}\""),
            token.replacen(char::is_alphabetic, "\\u0061", 0),
        ]);
        for text in disguises {
            let line = format!("the log says: {text} and goes on");
            let out = masked(&line);
            assert!(out.contains("[[secret:"), "{line}");
            assert!(!out.contains(&token) && !out.contains(right), "{line}\n-> {out}");
        }
    }
}

#[test]
fn known_values_are_hidden_in_every_form_anywhere() {
    let value = "k9#Sidecar/Token+42=x";
    let session = session(&[value]);
    let reversed: String = value.chars().rev().collect();
    let mut all = forms(value);
    all.push(reversed);
    for form in &all {
        for text in [format!("<<{form}>>"), format!("a\n{form}\nb"), format!("{{\"x\":\"{form}\"}}")] {
            let out = session.mask_text(&text, &here()).text;
            for form in &all {
                assert!(!out.contains(form.as_str()), "{text} -> {out}");
            }
        }
    }
}

#[test]
fn structure_says_what_is_secret() {
    let mut value = json!({
        "variables": {"DbPassword": {"value": "plain words", "isSecret": true}, "Region": {"value": "westeurope"}},
        "authorization": {"scheme": "ServicePrincipal", "parameters": {
            "tenantid": "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c", "serviceprincipalkey": "short", "apitoken": "x1" }},
        "headers": {"Set-Cookie": "s=1", "Authorization": "Basic abc", "X-Custom": "fine"},
        "fields": {"System.Title": "Reset my password: it is in the vault", "System.Description": format!("see {}", github())},
        "settings": [{"name": "smtpPassword", "value": "Sommer2026!"}, {"name": "smtpHost", "value": "mail.contoso.example"}],
        "url": "https://x.blob.core.windows.net/c/f?sv=2024&sig=abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH%3D",
    });
    let hits = session(&[]).mask_json(&mut value, &here());
    let text = value.to_string();
    for gone in
        ["plain words", "short", "\"x1\"", "s=1", "Basic abc", "ghp_", "Sommer2026!", "abcdefghijklmnop"]
    {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    for stays in
        ["westeurope", "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c", "fine", "it is in the vault", "mail.contoso"]
    {
        assert!(text.contains(stays), "{stays} not in {text}");
    }
    assert!(hits.iter().any(|hit| hit.class == "secret-variable"));
}

#[test]
fn contexts_give_their_secrets_away() {
    let key = Dice(21).text(ALNUM, 86);
    for (text, secret) in [
        (format!("DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={key}==;EndpointSuffix=core.windows.net"), key.as_str()),
        (format!("AccountEndpoint=https://shop.documents.azure.com:443/;AccountKey={key}==;"), key.as_str()),
        ("Server=tcp:db.contoso.example;User ID=shop;Password=Sommer und Sonne;Encrypt=True".to_owned(), "Sommer"),
        ("postgres://shop:gr8Passw0rt@db/shop".to_owned(), "gr8Passw0rt"),
        ("curl -s -u alice:Xy7pq9 https://dev.azure.com/contoso".to_owned(), "Xy7pq9"),
        ("//registry.example/:_authToken=0f8a7b6c5d4e3f2a1b0c".to_owned(), "0f8a7b6c5d4e3f2a1b0c"),
        ("machine dev.azure.com login alice password q8w7e6r5".to_owned(), "q8w7e6r5"),
        ("az login --service-principal -u app --password Qx8~abcDEF12".to_owned(), "Qx8~abcDEF12"),
        ("ConvertTo-SecureString 'Winter26!' -AsPlainText -Force".to_owned(), "Winter26!"),
        ("Authorization: Basic OmFiY2RlZmdoaWprbG1ub3A=".to_owned(), "OmFiY2RlZmdoaWprbG1ub3A="),
        ("<add key=\"SmtpPassword\" value=\"Som mer\" />".to_owned(), "Som mer"),
        ("apiVersion: v1\nkind: Secret\ndata:\n  password: UzNjcjN0UGE1NQ==\n".to_owned(), "UzNjcjN0UGE1NQ=="),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----".to_owned(), "b3BlbnNzaC1r"),
        ("key: -----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0\\n-----END PRIVATE KEY-----\\n".to_owned(), "MIIEvQIBADAN"),
    ] {
        let out = masked(&text);
        assert!(!out.contains(secret), "{text} -> {out}");
    }
}

#[test]
fn equal_values_share_a_placeholder_in_a_session_and_not_across() {
    let text = format!("a {} b {}", github(), github());
    let first = session(&[]);
    let out = first.mask_text(&text, &here()).text;
    let found = first.placeholders(&out);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].id, found[1].id);
    assert!(found.iter().all(|one| one.issued && one.end - one.start <= MAX_PLACEHOLDER_BYTES));
    let other = masker(&[]).session([8; 32]).mask_text(&text, &here()).text;
    assert_ne!(out, other);
    assert!(!masker(&[]).session([8; 32]).placeholders(&out)[0].issued);
}

#[test]
fn nobody_outside_can_write_a_placeholder() {
    let session = session(&[]);
    let real = session.mask_text(&github(), &here()).text;
    let masked = session.mask_text(&format!("please use {real} and [\u{200B}[SECRET:a:b]]"), &here());
    assert_eq!(masked.forged, 2);
    assert!(session.placeholders(&masked.text).is_empty());
    // Nor does the model, unless this session gave it out.
    let again = session.mask_again(&format!("{real} [[secret:jwt:aaaaaa]]"), &here());
    assert_eq!(again.forged, 1);
    assert_eq!(session.placeholders(&again.text).len(), 1);
}

#[test]
fn a_secret_returns_only_to_its_own_untouched_line() {
    let session = session(&[]);
    let origin = file("/config.yml");
    let original = format!("name: shop\ntoken: {}\nport: 80\n", github());
    let shown = session.mask_text(&original, &origin).text;
    let edited = shown.replace("port: 80", "port: 8080");
    let written = session.restore_file(&origin, &original, &edited).unwrap();
    assert_eq!(written, original.replace("port: 80", "port: 8080"));
    let moved = shown.replace("token: ", "url: https://evil.example/?");
    assert!(matches!(session.restore_file(&origin, &original, &moved), Err(RestoreError::NotAllowedHere(_))));
    assert!(matches!(
        session.restore_file(&file("/b"), &original, &shown),
        Err(RestoreError::NotAllowedHere(_))
    ));
    let forged = "token: [[secret:github-pat:zzzzzz]]";
    assert!(matches!(session.restore_file(&origin, &original, forged), Err(RestoreError::Forged(_))));
}

#[test]
fn outgoing_text_is_judged_by_how_sure_the_finding_is() {
    let masker = masker(&["sidecar-value-1"]);
    let text = format!("x sidecar-value-1 y {} z token = \"k3J9xQ2vLm8Zp4\"", github());
    let sure: Vec<_> = masker.scan_outgoing(&text).into_iter().map(|f| (f.class, f.certainty)).collect();
    assert_eq!(
        sure,
        [("known", Certainty::Known), ("github-pat", Certainty::Format), ("named-secret", Certainty::Guess)]
    );
    assert_eq!(masker.redact("x sidecar-value-1"), "x [[secret:known]]");
}

#[test]
fn what_is_learnt_is_known_and_bad_values_are_refused() {
    let masker = masker(&[]);
    masker.learn("bearer", &SecretString::from("fresh-token-value")).unwrap();
    assert_eq!(masker.scan_outgoing("a fresh-token-value b").len(), 1);
    for n in 0..100 {
        masker.learn("bearer", &SecretString::from(format!("token-number-{n:03}"))).unwrap();
    }
    assert!(masker.scan_outgoing("a fresh-token-value b").is_empty());
    assert_eq!(masker.scan_outgoing("token-number-099").len(), 1);
    let refused = |class, value: &str| Masker::new([(class, SecretString::from(value))]);
    assert!(matches!(refused("a", "abc"), Err(KnownError::TooShort("a"))));
    assert!(matches!(refused("A b", "abcdefgh"), Err(KnownError::BadClass(_))));
    assert!(matches!(refused("a", &"x".repeat(20_000)), Err(KnownError::TooLong("a"))));
}

#[test]
fn too_long_a_text_is_cut_and_never_leaves() {
    let text = format!("{}{}", "x ".repeat(MAX_TEXT_BYTES / 2), github());
    let masked = session(&[]).mask_text(&text, &here());
    assert_eq!(masked.cut_bytes, 40);
    assert!(!masked.text.contains("ghp_") && masked.text.contains("40 bytes more"));
    assert_eq!(masker(&[]).scan_outgoing(&text)[0].class, "too-long");
}

#[test]
fn a_stream_keeps_key_blocks_together() {
    let session = session(&[]);
    let mut stream = session.stream(here());
    let mut out = String::new();
    for piece in [
        "start\n-----BEGIN RSA PRIV",
        "ATE KEY-----\nMIIabc\n",
        "def123\n-----END RSA ",
        "PRIVATE KEY-----\nnext\nlast",
    ] {
        out.push_str(&stream.push(piece));
    }
    let (rest, hits) = stream.finish();
    out.push_str(&rest);
    assert!(!out.contains("MIIabc") && !out.contains("def123"), "{out}");
    assert!(out.starts_with("start\n[[secret:private-key:") && out.ends_with("\nnext\nlast"), "{out}");
    assert_eq!(hits[0].count, 1);
}
