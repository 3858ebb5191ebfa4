//! Code hosts, package registries, build systems, and bearer tokens of no particular issuer.

use super::Part::{Run, Text};
use super::*;

const fn plain(class: &'static str, anchors: &'static [&'static str], rest: &'static [Part]) -> Format {
    Format::new(class, anchors, rest).bits(3.0)
}

pub(super) static FORMATS: &[Format] = &[
    // GitHub: a prefix for each kind of token, then 36 or more characters.
    plain("github-pat", &["ghp_"], &[Run(alnum, 36, 255)]),
    plain("github-oauth", &["gho_"], &[Run(alnum, 36, 255)]),
    plain("github-app-token", &["ghu_", "ghs_"], &[Run(alnum, 36, 600)]),
    plain("github-refresh-token", &["ghr_"], &[Run(alnum, 36, 255)]),
    plain("github-pat", &["github_pat_"], &[Run(word, 60, 255)]),
    // GitLab.
    plain(
        "gitlab-token",
        &["glpat-", "gldt-", "glft-", "glrt-", "glsoat-", "glffct-"],
        &[Run(dotted, 20, 320)],
    ),
    plain("gitlab-token", &["glimt-", "glagent-", "gloas-", "glptt-", "glcbt-"], &[Run(dotted, 20, 320)]),
    plain("gitlab-token", &["GR1348941"], &[Run(name, 20, 60)]),
    plain("gitlab-session", &["_gitlab_session="], &[Run(alnum, 32, 64)]),
    // Package registries.
    Format::new("npm-token", &["npm_"], &[Run(alnum, 36, 36)]).fold().edges(alnum, alnum),
    Format::new("nuget-key", &["oy2"], &[Run(base32_any, 43, 43)]).fold().edges(alnum, alnum),
    plain("pypi-token", &["pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw"], &[Run(name, 50, 1000)]),
    Format::new("rubygems-key", &["rubygems_"], &[Run(hex, 48, 48)]),
    Format::new("clojars-token", &["clojars_"], &[Run(alnum, 60, 60)]).fold(),
    plain("crates-io-token", &["cio"], &[Run(alnum, 32, 32)]).edges(word, word).random(),
    plain("artifactory-key", &["AKCp"], &[Run(alnum, 69, 69)]).edges(word, word),
    plain("artifactory-token", &["cmVmd"], &[Run(alnum, 59, 59)]).edges(word, word),
    plain("docker-pat", &["dckr_pat_", "dckr_oat_"], &[Run(name, 27, 60)]),
    // Build systems and what surrounds them.
    plain("octopus-key", &["API-"], &[Run(capital, 26, 26)]).edges(word, word),
    plain("pulumi-token", &["pul-"], &[Run(hex, 40, 40)]).edges(word, word),
    plain("terraform-token", &[".atlasv1."], &[Run(dotted, 60, 70)]).lead(alnum, 14, 14),
    plain("harness-key", &["pat.", "sat."], HARNESS),
    plain("vault-token", &["hvs."], &[Run(name, 24, 200)]),
    plain("vault-token", &["hvb."], &[Run(name, 100, 400)]),
    plain("vault-token", &["s."], &[Run(alnum, 24, 24)]).edges(word_dot, word).bits(3.5).random(),
    plain("sourcegraph-token", &["sgp_"], &[Run(word, 40, 64)]).fold().edges(alnum, alnum),
    plain("postman-key", &["PMAK-"], &[Run(hex, 24, 24), Text("-"), Run(hex, 34, 34)]),
    plain("openshift-token", &["sha256~"], &[Run(name, 43, 43)]).edges(word, name),
    plain("prefect-key", &["pnu_"], &[Run(alnum, 36, 36)]).edges(word, word),
    plain("infracost-key", &["ico-"], &[Run(alnum, 32, 32)]).edges(word, word),
    plain("sonar-token", &["squ_", "sqp_", "sqa_"], &[Run(hex, 40, 40)]).edges(word, word),
    // JSON Web Tokens: header and body are base64url of `{"`, `{ "` or a brace and a line feed.
    plain("jwt", &["eyJ", "eyA", "ewo", "ewog"], JWT).edges(word_dot, none),
    plain("jwt", &["ey"], JWT).edges(word_dot, none).random(),
    // The same, once more in base64.
    plain("jwt", &["ZXlK"], &[Run(base64_padded, 40, 30_000)]).edges(base64_any, none),
    Format::new("age-key", &["AGE-SECRET-KEY-1"], &[Run(alnum, 58, 58)]).fold(),
    plain("authress-key", &["sc_", "ext_", "scauth_", "authress_"], AUTHRESS).edges(word, none),
];

const JWT: &[Part] =
    &[Run(name, 15, 8192), Text("."), Run(segment, 17, 16_384), Text("."), Run(base64_padded, 0, 4096)];

const HARNESS: &[Part] = &[Run(name, 22, 22), Text("."), Run(alnum, 24, 24), Text("."), Run(alnum, 20, 20)];

const AUTHRESS: &[Part] = &[
    Run(alnum, 5, 30),
    Text("."),
    Run(alnum, 4, 6),
    Text(".acc"),
    Run(name, 11, 33),
    Text("."),
    Run(base64_padded, 30, 120),
];

fn base32_any(byte: u8) -> bool {
    alpha(byte) || matches!(byte, b'2'..=b'7')
}
fn word_dot(byte: u8) -> bool {
    word(byte) || byte == b'.'
}
/// The middle of a web token; some writers escape slashes.
fn segment(byte: u8) -> bool {
    base64_padded(byte) || byte == b'\\'
}
