//! Settings as their readers give them.

use super::*;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Settings::from_sources(&environment, Path::new("/nonexistent/.env")).unwrap()
}

const GOOD: [(&str, &str); 8] = [
    ("AZURE_DEVOPS_ORGANIZATION_URL", "https://dev.azure.com/contoso/"),
    ("AZURE_DEVOPS_PROJECT", "Fabrikam"),
    ("AZURE_DEVOPS_REPOSITORY", "web-shop"),
    ("SIDECAR_URL", "http://localhost:5000"),
    ("AGENT_IDENTITY_ID", "44444444-dddd-4ddd-8ddd-444444444444"),
    ("AGENT_USERNAME", "ado-coworker@contoso.example"),
    ("AZURE_OPENAI_ENDPOINT", "https://contoso.openai.azure.com"),
    ("AZURE_OPENAI_DEPLOYMENT", "gpt"),
];

#[test]
fn good_settings_are_taken() {
    let config = settings(&GOOD).check().unwrap();
    assert_eq!(config.azure_devops.organization_url.as_str(), "https://dev.azure.com/contoso");
    assert_eq!(config.web.listen_address.port(), 4192);
}

#[test]
fn tokens_travel_in_clear_on_this_machine_only() {
    let with = |url: &'static str| {
        let mut pairs = GOOD;
        pairs[0].1 = url;
        settings(&pairs).check()
    };
    let fine =
        ["https://tfs.contoso.com/tfs/C", "http://localhost:1/c", "http://127.0.0.7/c", "http://[::1]:80/c"];
    for url in fine {
        assert!(with(url).is_ok(), "{url}");
    }
    for url in ["http://tfs.contoso.com/tfs/C", "http://10.0.0.1/c", "http://localhost.contoso.com/c"] {
        let faults = with(url).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{faults}");
        assert!(faults.to_string().contains("use https"), "{faults}");
    }
}

#[test]
fn a_page_that_others_reach_needs_sign_in() {
    let with = |more: &[(&str, &str)]| settings(&[&GOOD[..], more].concat()).check();
    let everywhere = ("LISTEN_ADDRESS", "0.0.0.0:4192");
    let said = with(&[everywhere]).unwrap_err().to_string();
    assert!(said.contains("LISTEN_ADDRESS") && said.contains("SIGN_IN_CLIENT_ID"), "{said}");
    with(&[everywhere, ("PUBLIC_URL", "http://127.0.0.1:4192")]).unwrap();
    let client = ("SIGN_IN_CLIENT_ID", "77777777-ffff-4fff-8fff-777777777777");
    assert!(with(&[everywhere, client]).unwrap_err().to_string().contains("AZURE_TENANT_ID"));
    let tenant = ("AZURE_TENANT_ID", "11111111-aaaa-4aaa-8aaa-111111111111");
    let public = |url| with(&[everywhere, client, tenant, ("PUBLIC_URL", url)]);
    assert!(with(&[everywhere, client, tenant]).unwrap_err().to_string().contains("PUBLIC_URL"));
    assert!(public("http://coworker.contoso.com").unwrap_err().to_string().contains("use https"));
    let config = public("https://coworker.contoso.com").unwrap();
    let sign_in = config.sign_in.unwrap();
    assert_eq!(sign_in.cloud.authority.as_str(), "https://login.microsoftonline.com/");
    let plain = ("AZURE_AUTHORITY_HOST", "http://login.example");
    assert!(with(&[client, tenant, plain]).unwrap_err().to_string().contains("use https"));
}

#[test]
fn the_federated_profile_takes_no_key_and_no_password() {
    let with = |more: &[(&str, &str)]| settings(&[&GOOD[..], more].concat()).check();
    let key = ("AZURE_OPENAI_API_KEY", "0123456789abcdef");
    assert_eq!(with(&[key]).unwrap().profile, Profile::Development);
    let said = with(&[key, ("PROFILE", "federated")]).unwrap_err().to_string();
    assert!(said.contains("AZURE_OPENAI_API_KEY") && !said.contains("0123456789"), "{said}");
    assert_eq!(with(&[("PROFILE", "federated")]).unwrap().profile, Profile::Federated);
    assert!(with(&[("PROFILE", "production")]).is_err());
    for url in ["postgres://coworker:s3cret@db/journal", "postgres://db/journal?password=s3cret"] {
        assert!(with(&[("DATABASE_URL", url)]).is_ok());
        let said = with(&[("DATABASE_URL", url), ("PROFILE", "federated")]).unwrap_err().to_string();
        assert!(
            said.contains("DATABASE_URL") && said.contains("sslcert") && !said.contains("s3cret"),
            "{said}"
        );
    }
    let by_certificate = ("DATABASE_URL", "postgres://coworker@db/journal?sslcert=/c.pem&sslkey=/k.pem");
    assert!(with(&[by_certificate, ("PROFILE", "federated")]).is_ok());
}

#[test]
fn every_fault_is_reported_at_once() {
    let faults = settings(&[
        ("AZURE_DEVOPS_ORGANIZATION_URL", "ftp://x"),
        ("AGENT_USERNAME", "a"),
        ("AGENT_USER_ID", "b"),
        ("LISTEN_ADDRESS", "somewhere"),
        ("WEBHOOK_USERNAME", "hook"),
        ("AzureAd__ClientSecret", "s3cret-value"),
    ])
    .check()
    .unwrap_err();
    let text = faults.to_string();
    for name in [
        "AZURE_DEVOPS_ORGANIZATION_URL",
        "AZURE_DEVOPS_PROJECT",
        "SIDECAR_URL",
        "AGENT_USER_ID",
        "AZURE_OPENAI_ENDPOINT",
        "LISTEN_ADDRESS",
        "WEBHOOK_PASSWORD",
        "AzureAd__ClientSecret",
    ] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    assert!(!text.contains("s3cret-value"));
}

#[test]
fn dotenv_is_read_by_name_and_the_environment_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let secret = folder.path().join("password");
    std::fs::write(&secret, "from-file\n").unwrap();
    let text = format!(
        "AzureAd__ClientId=x\nLOG=debug\nUNKNOWN=1\nNOTICE=\"from dotenv\"\nWEBHOOK_PASSWORD_FILE={}\n",
        secret.display()
    );
    std::fs::write(&path, text).unwrap();
    let environment = BTreeMap::from([("LOG".to_owned(), "warn".to_owned())]);
    let settings = Settings::from_sources(&environment, &path).unwrap();
    assert_eq!(settings.get("LOG"), Some("warn"));
    assert_eq!(settings.get("NOTICE"), Some("from dotenv"));
    assert_eq!(settings.get("WEBHOOK_PASSWORD"), Some("from-file"));
    assert_eq!(settings.get("UNKNOWN"), None);
    assert_eq!(settings.foreign(), &Foreign { sidecar: vec![], stray: vec!["AzureAd__ClientId".into()] });
}
