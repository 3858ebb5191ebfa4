//! AWS, Google, model providers, payment, and other clouds whose tokens name themselves.

use super::Part::{Run, Text};
use super::*;

const fn plain(class: &'static str, anchors: &'static [&'static str], rest: &'static [Part]) -> Format {
    Format::new(class, anchors, rest)
}

pub(super) static FORMATS: &[Format] = &[
    // AWS: the id of a key is 20 capitals; its secret half is found by its name.
    plain("aws-access-key", &["AKIA", "ASIA", "ABIA", "ACCA"], &[Run(aws, 16, 16)])
        .edges(word, word)
        .bits(3.0),
    plain("aws-access-key", &["A3T"], &[Run(capital, 1, 1), Run(aws, 16, 16)]).edges(word, word).bits(3.0),
    plain("aws-bedrock-key", &["ABSK"], &[Run(base64_padded, 109, 280)]).edges(word, none).bits(3.0),
    plain(
        "aws-bedrock-key",
        &["bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t"],
        &[Run(base64_padded, 0, 4096)],
    ),
    // Google.
    plain("google-api-key", &["AIza"], &[Run(name, 35, 35)]).edges(alnum, name).bits(3.5),
    plain("google-oauth-secret", &["GOCSPX-"], &[Run(name, 28, 28)]),
    plain("google-oauth-token", &["ya29."], &[Run(name, 40, 2048)]),
    plain("google-refresh-token", &["1//0"], &[Run(name, 38, 512)]).edges(alnum, none).bits(3.5),
    // Models.
    plain("anthropic-key", &["sk-ant-"], &[Run(name, 60, 140)]),
    plain("openai-key", &["T3BlbkFJ"], &[Run(name, 20, 80)]).lead(name, 20, 110),
    plain("openai-key", &["sk-proj-", "sk-svcacct-", "sk-admin-"], &[Run(name, 40, 220)]),
    plain("hugging-face-token", &["hf_", "api_org_"], &[Run(alnum, 34, 34)]).edges(word, word).bits(3.0),
    plain("perplexity-key", &["pplx-"], &[Run(alnum, 48, 48)]).edges(word, none),
    plain("groq-key", &["gsk_"], &[Run(alnum, 52, 52)]).edges(word, word),
    // Payment and shops.
    plain(
        "stripe-key",
        &["sk_live_", "sk_test_", "sk_prod_", "rk_live_", "rk_test_", "rk_prod_"],
        &[Run(alnum, 10, 120)],
    ),
    plain("stripe-webhook-secret", &["whsec_"], &[Run(base64_padded, 32, 64)]),
    plain("square-token", &["sq0atp-", "sq0csp-"], &[Run(name, 22, 60)]),
    plain("square-token", &["EAAA"], &[Run(name, 22, 60)])
        .edges(base64_any, base64_padded)
        .bits(3.5)
        .random(),
    plain("shopify-token", &["shpat_", "shpca_", "shppa_", "shpss_"], &[Run(hex, 32, 64)]),
    plain("shippo-token", &["shippo_live_", "shippo_test_"], &[Run(hex, 40, 40)]),
    plain("duffel-token", &["duffel_test_", "duffel_live_"], &[Run(dotted, 43, 43)]),
    plain("easypost-token", &["EZAK", "EZTK"], &[Run(alnum, 54, 54)]).edges(word, word),
    plain(
        "flutterwave-key",
        &["FLWSECK_TEST-", "FLWPUBK_TEST-", "FLWSECK-", "FLWPUBK-"],
        &[Run(name, 12, 40)],
    ),
    // Chat and mail.
    plain(
        "slack-token",
        &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-", "xoxe-"],
        &[Run(name, 8, 400)],
    ),
    plain("slack-token", &["xoxe.xoxb-", "xoxe.xoxp-", "xapp-"], &[Run(name, 8, 400)]).fold(),
    plain("slack-token", &["xoxe-"], &[Run(name, 100, 400)]).fold(),
    plain("slack-webhook", &["hooks.slack.com/"], &[Run(path, 30, 200)]),
    plain("discord-webhook", &["discord.com/api/webhooks/"], &[Run(path, 60, 200)]),
    plain("sendgrid-token", &["SG."], &[Run(dotted, 60, 70)]).edges(word, none),
    plain("sendinblue-key", &["xkeysib-"], &[Run(hex, 64, 64), Text("-"), Run(alnum, 16, 16)]),
    plain("twilio-key", &["SK", "AC"], &[Run(hex, 32, 32)]).edges(base64_any, word).bits(3.0),
    plain("telegram-token", &[":A"], &[Run(name, 34, 34)])
        .lead(digit, 5, 16)
        .edges(word, word)
        .bits(3.5)
        .random(),
    plain("facebook-token", &["EAAM", "EAAC"], &[Run(alnum, 100, 400)]).edges(word, none).bits(3.5),
    plain("facebook-token", &["|", "%"], &[Run(name, 27, 40)])
        .lead(digit, 15, 16)
        .edges(word, none)
        .bits(3.0),
    // Other clouds and tools.
    plain("alibaba-key-id", &["LTAI"], &[Run(alnum, 20, 20)]).edges(word, word).random(),
    plain("digitalocean-token", &["dop_v1_", "doo_v1_", "dor_v1_"], &[Run(hex, 64, 64)]).fold(),
    plain("cloudflare-ca-key", &["v1.0-"], &[Run(hex, 24, 24), Text("-"), Run(hex, 146, 146)]),
    plain("fly-token", &["fo1_"], &[Run(name, 43, 43)]).edges(word, none).bits(3.5),
    plain("fly-token", &["fm1a_", "fm1r_", "fm2_"], &[Run(base64_padded, 100, 2048)]).edges(word, none),
    plain("heroku-key", &["HRKU-AA"], &[Run(name, 58, 58)]),
    plain("planetscale-token", &["pscale_tkn_", "pscale_oauth_", "pscale_pw_"], &[Run(dotted, 32, 64)])
        .fold(),
    plain("databricks-token", &["dkea"], &[Run(hex, 32, 32)]).edges(word, word),
    plain("dynatrace-token", &["dt0c01."], &[Run(alnum, 24, 24), Text("."), Run(alnum, 64, 64)]),
    plain("doppler-token", &["dp.pt.", "dp.st.", "dp.sa."], &[Run(alnum, 40, 64)]),
    plain("grafana-key", &["eyJrIjoi"], &[Run(base64_padded, 70, 410)]).fold(),
    plain("grafana-token", &["glc_"], &[Run(base64_padded, 32, 410)]).fold().edges(word, none).random(),
    plain("grafana-token", &["glsa_"], &[Run(alnum, 32, 32), Text("_"), Run(hex, 8, 8)]).fold(),
    plain("new-relic-key", &["NRAK-", "NRJS-", "NRII-"], &[Run(name, 19, 40)]).fold().edges(word, none),
    plain("sentry-token", &["sntrys_eyJ"], &[Run(base64_padded, 80, 700)]),
    plain("sentry-token", &["sntryu_"], &[Run(hex, 64, 64)]),
    plain("linear-key", &["lin_api_"], &[Run(alnum, 40, 40)]).fold(),
    plain("notion-token", &["ntn_"], &[Run(digit, 11, 11), Run(alnum, 35, 35)]),
    plain("notion-token", &["secret_"], &[Run(alnum, 43, 43)]).edges(word, word).random(),
    plain("readme-key", &["rdme_"], &[Run(alnum, 70, 70)]),
    plain("typeform-token", &["tfp_"], &[Run(dotted, 40, 70)]).fold().edges(word, none),
    plain("frameio-token", &["fio-u-"], &[Run(dotted, 64, 64)]),
    plain("adobe-secret", &["p8e-"], &[Run(alnum, 32, 32)]).edges(word, word),
    plain("airtable-pat", &["pat"], &[Run(alnum, 14, 14), Text("."), Run(hex, 64, 64)]).edges(word, word),
    plain("atlassian-token", &["ATATT3"], &[Run(dotted, 100, 250)]).fold(),
    plain("maxmind-key", &["_mmk"], &[]).lead(word, 36, 36).edges(word, word).bits(3.5),
    plain("onepassword-key", &["A3-"], &[Run(capital, 6, 6), Text("-"), Run(capital_dash, 23, 40)])
        .edges(word, none),
    plain("onepassword-token", &["ops_eyJ"], &[Run(base64_padded, 200, 2048)]),
    plain("clickhouse-key", &["4b1d"], &[Run(alnum, 38, 38)]).edges(word, word).bits(3.5).random(),
    plain("settlemint-token", &["sm_aat_", "sm_pat_", "sm_sat_"], &[Run(alnum, 16, 16)]),
    plain("defined-token", &["dnkey-"], &[Run(dotted, 26, 26), Text("-"), Run(dotted, 52, 52)]).fold(),
    plain("intra42-secret", &["s-s4t2ud-", "s-s4t2af-"], &[Run(hex, 64, 64)]).fold(),
    plain("dropbox-token", &["sl."], &[Run(dotted, 130, 200)]).fold().edges(word, none),
    plain("gocardless-token", &["live_"], &[Run(dotted, 40, 40)]).fold().edges(word, none).random(),
    plain("supabase-key", &["sbp_", "sb_secret_"], &[Run(word, 31, 64)]).edges(word, none),
];

fn aws(byte: u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7')
}
fn capital_dash(byte: u8) -> bool {
    capital(byte) || byte == b'-'
}
