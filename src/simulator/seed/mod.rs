//! The repository that the simulated organisation starts with.
//!
//! A small web shop, kept as real files in `web-shop/` so that it can be read, compiled and tested on
//! its own. It holds one real bug: the login timeout (see [`recipes`]). One file has CRLF line endings
//! and one a byte-order mark, as such repositories do.

pub mod recipes;

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        vec![$(($path, include_bytes!(concat!("web-shop/", $path)).as_slice())),*]
    };
}

/// The files of the repository `web-shop`: path without a leading slash, and content, byte for byte.
pub fn web_shop() -> Vec<(&'static str, &'static [u8])> {
    files![
        ".ado-coworker.toml",
        ".gitignore",
        "AGENTS.md",
        "README.md",
        "azure-pipelines.yml",
        "config/default.json",
        "config/production.json",
        "data/products.csv",
        "docs/sessions.md",
        "package.json",
        "scripts/start.cmd",
        "src/auth/login.ts",
        "src/auth/passwords.ts",
        "src/auth/session.ts",
        "src/cart/cart.ts",
        "src/cart/prices.ts",
        "src/catalogue/products.ts",
        "src/catalogue/search.ts",
        "src/config.ts",
        "src/http/cookies.ts",
        "src/http/router.ts",
        "src/server.ts",
        "src/shop.ts",
        "test/cart.test.ts",
        "test/catalogue.test.ts",
        "test/config.test.ts",
        "test/login.test.ts",
        "test/session.test.ts",
        "tsconfig.json",
    ]
}

#[cfg(test)]
mod tests {
    use super::recipes::{LOGIN_TIMEOUT, LOGIN_TIMEOUT_SETTING, Recipe};
    use super::*;
    use std::collections::BTreeMap;

    fn apply(files: &mut BTreeMap<String, String>, recipe: &Recipe) {
        for (path, edits) in recipe.files {
            let text = files.get_mut(path.trim_start_matches('/')).unwrap();
            for edit in *edits {
                let old = edit.old.iter().find(|old| text.contains(**old)).unwrap_or_else(|| {
                    panic!("{path} lacks {:?}", edit.old);
                });
                assert_eq!(text.matches(old).count(), 1, "{path}: {old} is not unique");
                *text = text.replacen(old, edit.new, 1);
            }
        }
    }

    fn seeded() -> BTreeMap<String, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        web_shop().into_iter().map(|(path, bytes)| (path.to_owned(), text(bytes))).collect()
    }

    #[test]
    fn line_endings_and_byte_order_mark_survived() {
        let files: BTreeMap<_, _> = web_shop().into_iter().collect();
        assert!(files["scripts/start.cmd"].windows(2).any(|pair| pair == b"\r\n"));
        assert!(files["data/products.csv"].starts_with(b"\xef\xbb\xbf"));
        assert!(!files["src/auth/login.ts"].contains(&b'\r'));
    }

    #[test]
    fn every_recipe_fits_the_seed_alone_and_after_the_repair() {
        let mut alone = seeded();
        apply(&mut alone, &LOGIN_TIMEOUT_SETTING);
        let mut both = seeded();
        apply(&mut both, &LOGIN_TIMEOUT);
        assert!(both["src/auth/login.ts"].contains("LOGIN_TIMEOUT_SECONDS * 1000"));
        apply(&mut both, &LOGIN_TIMEOUT_SETTING);
        assert!(!both["src/auth/login.ts"].contains("LOGIN_TIMEOUT"));
        assert_eq!(alone["src/auth/login.ts"], both["src/auth/login.ts"]);
    }
}
