//! Services whose keys do not name themselves: they are found by the name of the service in front
//! of an assignment, and by the length and alphabet of what is assigned.

use super::Part::{Run, Text};
use super::*;

/// A service and the shapes of its keys.
pub(in crate::mask) struct Service {
    /// The class in placeholders and findings.
    pub class: &'static str,
    /// How the service is named in settings, in lower case.
    pub names: &'static [&'static str],
    /// The shapes that its values have.
    pub shapes: &'static [&'static [Part]],
}

const fn service(
    class: &'static str,
    names: &'static [&'static str],
    shapes: &'static [&'static [Part]],
) -> Service {
    Service { class, names, shapes }
}

fn with_slash(byte: u8) -> bool {
    base64_padded(byte)
}
fn with_colon(byte: u8) -> bool {
    hex(byte) || byte == b':'
}
fn with_percent(byte: u8) -> bool {
    alnum(byte) || byte == b'%'
}

const HEX_24: &[Part] = &[Run(hex, 24, 24)];
const HEX_32: &[Part] = &[Run(hex, 32, 32)];
const HEX_40: &[Part] = &[Run(hex, 40, 40)];
const HEX_64: &[Part] = &[Run(hex, 64, 64)];
const GUID: &[Part] = &[
    Run(hex, 8, 8),
    Text("-"),
    Run(hex, 4, 4),
    Text("-"),
    Run(hex, 4, 4),
    Text("-"),
    Run(hex, 4, 4),
    Text("-"),
    Run(hex, 12, 12),
];
const NAME_32: &[Part] = &[Run(dotted, 32, 32)];
const NAME_40: &[Part] = &[Run(dotted, 40, 46)];
const NAME_64: &[Part] = &[Run(dotted, 64, 64)];
const ALNUM_32: &[Part] = &[Run(alnum, 32, 32)];
const ALNUM_64: &[Part] = &[Run(alnum, 64, 64)];

/// Tokens that name themselves but belong to none of the other groups.
pub(super) static FORMATS: &[Format] =
    &[Format::new("scalingo-token", &["tk-us-"], &[Run(name, 48, 48)]).edges(word, name)];

pub(in crate::mask) static SERVICES: &[Service] = &[
    service("adafruit-key", &["adafruit"], &[NAME_32]),
    service("adobe-client-id", &["adobe"], &[HEX_32]),
    service("airtable-key", &["airtable"], &[&[Run(alnum, 17, 17)]]),
    service("algolia-key", &["algolia"], &[ALNUM_32]),
    service("alibaba-secret", &["alibaba", "aliyun"], &[&[Run(alnum, 30, 30)]]),
    service("asana-secret", &["asana"], &[ALNUM_32, &[Run(digit, 16, 16)]]),
    service("atlassian-token", &["atlassian", "confluence", "jira"], &[&[Run(alnum, 24, 24)]]),
    service("aws-secret-key", &["aws", "secretaccesskey", "secret_access_key"], &[&[Run(base64, 40, 40)]]),
    service("beamer-token", &["beamer"], &[&[Text("b_"), Run(dotted, 44, 44)]]),
    service("bitbucket-secret", &["bitbucket"], &[ALNUM_32, NAME_64]),
    service("bittrex-key", &["bittrex"], &[ALNUM_32]),
    service("cisco-meraki-key", &["meraki"], &[HEX_40]),
    service("cloudflare-key", &["cloudflare"], &[NAME_40, &[Run(hex, 37, 37)]]),
    service("codecov-token", &["codecov"], &[ALNUM_32]),
    service("cohere-key", &["cohere", "co_api_key"], &[&[Run(alnum, 40, 40)]]),
    service("coinbase-token", &["coinbase"], &[NAME_64]),
    service("confluent-key", &["confluent"], &[&[Run(alnum, 16, 16)], ALNUM_64]),
    service("contentful-token", &["contentful"], &[&[Run(dotted, 43, 43)]]),
    service("datadog-key", &["datadog", "dd_api_key", "dd_app_key"], &[&[Run(alnum, 40, 40)], HEX_32]),
    service("discord-secret", &["discord"], &[HEX_64, NAME_32, &[Run(digit, 18, 18)]]),
    service("droneci-token", &["droneci"], &[ALNUM_32]),
    service(
        "dropbox-key",
        &["dropbox"],
        &[&[Run(alnum, 15, 15)], &[Run(alnum, 11, 11), Run(dotted, 53, 53)]],
    ),
    service("etsy-key", &["etsy"], &[&[Run(alnum, 24, 24)]]),
    service("facebook-secret", &["facebook"], &[HEX_32]),
    service("fastly-token", &["fastly"], &[NAME_32]),
    service("finicity-secret", &["finicity"], &[HEX_32, &[Run(alnum, 20, 20)]]),
    service("finnhub-token", &["finnhub"], &[&[Run(alnum, 20, 20)]]),
    service("flickr-token", &["flickr"], &[ALNUM_32]),
    service("freshbooks-token", &["freshbooks"], &[ALNUM_64]),
    service("gitter-token", &["gitter"], &[NAME_40]),
    service("heroku-key", &["heroku"], &[GUID]),
    service("hubspot-key", &["hubspot"], &[GUID]),
    service("intercom-key", &["intercom"], &[&[Run(dotted, 60, 60)]]),
    service("jfrog-token", &["jfrog", "artifactory", "bintray", "xray"], &[ALNUM_64, &[Run(alnum, 73, 73)]]),
    service("kraken-token", &["kraken"], &[&[Run(with_slash, 80, 90)]]),
    service("kucoin-key", &["kucoin"], &[HEX_24, GUID]),
    service("launchdarkly-token", &["launchdarkly"], &[NAME_40]),
    service("linear-secret", &["linear"], &[HEX_32]),
    service("linkedin-secret", &["linkedin", "linked_in", "linked-in"], &[&[Run(alnum, 14, 16)]]),
    service("lob-key", &["lob"], &[&[Run(alpha, 4, 4), Text("_"), Run(word, 30, 40)]]),
    service("looker-secret", &["looker"], &[&[Run(alnum, 20, 24)]]),
    service("mailchimp-key", &["mailchimp"], &[&[Run(hex, 32, 32), Text("-us"), Run(digit, 1, 2)]]),
    service(
        "mailgun-key",
        &["mailgun"],
        &[&[Text("key-"), Run(hex, 32, 32)], &[Text("pubkey-"), Run(hex, 32, 32)]],
    ),
    service(
        "mailgun-key",
        &["mailgun"],
        &[&[Run(alnum, 32, 32), Text("-"), Run(alnum, 8, 8), Text("-"), Run(alnum, 8, 8)]],
    ),
    service(
        "mapbox-token",
        &["mapbox"],
        &[&[Text("pk."), Run(alnum, 60, 60), Text("."), Run(alnum, 22, 22)]],
    ),
    service("mattermost-token", &["mattermost"], &[&[Run(alnum, 26, 26)]]),
    service(
        "messagebird-key",
        &["messagebird", "message-bird", "message_bird"],
        &[&[Run(alnum, 25, 25)], GUID],
    ),
    service("netlify-token", &["netlify"], &[NAME_40]),
    service("new-relic-key", &["new-relic", "newrelic", "new_relic"], &[ALNUM_64]),
    service("nytimes-token", &["nytimes", "new-york-times", "newyorktimes"], &[NAME_32]),
    service("okta-token", &["okta"], &[&[Text("00"), Run(dotted, 40, 40)]]),
    service("plaid-key", &["plaid"], &[&[Run(alnum, 24, 24)], &[Run(alnum, 30, 30)]]),
    service(
        "plaid-token",
        &["plaid"],
        &[&[Text("access-"), Run(alpha, 7, 11), Text("-"), Run(name, 36, 36)]],
    ),
    service("privateai-token", &["privateai", "private_ai", "private-ai"], &[ALNUM_32]),
    service("rapidapi-token", &["rapidapi"], &[&[Run(name, 50, 50)]]),
    service("sendbird-key", &["sendbird"], &[GUID, HEX_40]),
    service("sentry-token", &["sentry"], &[HEX_64]),
    service("sidekiq-secret", &["contribsys__com"], &[&[Run(with_colon, 17, 17)]]),
    service("snyk-token", &["snyk"], &[GUID]),
    service("sonar-token", &["sonar"], &[NAME_40]),
    service("sourcegraph-token", &["sourcegraph"], &[HEX_40]),
    service("squarespace-token", &["squarespace"], &[GUID]),
    service("sumologic-key", &["sumo"], &[ALNUM_64, &[Text("su"), Run(alnum, 12, 12)]]),
    service("travisci-token", &["travis"], &[&[Run(alnum, 22, 22)]]),
    service("twilio-token", &["twilio"], &[HEX_32]),
    service("twitch-token", &["twitch"], &[&[Run(alnum, 30, 30)]]),
    service("twitter-key", &["twitter"], &[&[Run(alnum, 25, 25)], &[Run(alnum, 45, 50)]]),
    service("twitter-token", &["twitter"], &[&[Run(digit, 15, 25), Text("-"), Run(alnum, 20, 40)]]),
    service("twitter-token", &["twitter"], &[&[Text("AAAAAAAAAAAAAAAAAAAAAA"), Run(with_percent, 80, 100)]]),
    service(
        "yandex-token",
        &["yandex"],
        &[&[Text("t1."), Run(dotted, 90, 300)], &[Text("AQVN"), Run(name, 35, 38)]],
    ),
    service("yandex-token", &["yandex"], &[&[Text("YC"), Run(name, 38, 38)]]),
    service("zendesk-key", &["zendesk"], &[&[Run(alnum, 40, 40)]]),
];
