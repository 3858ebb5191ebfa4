//! The sidecar goes away, keys and secrets change, while a run is under way: it waits, or ends clearly,
//! and acts as nobody else.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::harness::{PATIENCE, eventually};
use crate::identities::{Realm, USER};

const TENANT: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
const BLUEPRINT: &str = "22222222-bbbb-4bbb-8bbb-222222222222";
const SETUP_CLIENT: &str = "88888888-ffff-4fff-8fff-888888888888";

/// A line to the sidecar that can be cut: as when its container stops.
struct Line {
    own: SocketAddr,
    target: SocketAddr,
    carrying: Option<JoinHandle<()>>,
}

impl Line {
    async fn to(sidecar: &str) -> Self {
        let url = url::Url::parse(sidecar).unwrap();
        let target = SocketAddr::from(([127, 0, 0, 1], url.port().unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap();
        Self { own, target, carrying: Some(tokio::spawn(carry(listener, target))) }
    }

    async fn cut(&mut self) {
        let carrying = self.carrying.take().unwrap();
        carrying.abort();
        // Nobody listens any more once it is over.
        assert!(carrying.await.is_err());
    }

    async fn mend(&mut self) {
        let listener = TcpListener::bind(self.own).await.unwrap();
        self.carrying = Some(tokio::spawn(carry(listener, self.target)));
    }
}

async fn carry(listener: TcpListener, target: SocketAddr) {
    // Dropped with this task, and every connection with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut server = TcpStream::connect(target).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}

async fn realm(pace: &str) -> (Realm, Line) {
    let mut line = None;
    let realm = Realm::start_through(pace, async |sidecar| {
        let made = Line::to(&sidecar).await;
        let address = format!("http://{}", made.own);
        line = Some(made);
        address
    })
    .await;
    (realm, line.unwrap())
}

/// The sidecar has been asked for in vain.
async fn is_missed(realm: &Realm) {
    let log = realm.folder.path().join("log");
    eventually("the sidecar to be missed", async || {
        std::fs::read_to_string(&log).unwrap().contains("asking again").then_some(())
    })
    .await;
}

/// Every change of the organisation since its seeding was made by the agent user.
async fn only_the_agent_user_acted(realm: &Realm) {
    for entry in realm.ledger().await {
        let kind = entry["kind"].as_str().unwrap();
        let account = entry["account"].as_str().unwrap();
        // What the seed did, and what the organisation does by itself.
        let of_others = account == "alice@contoso.example" || account.is_empty();
        assert!(account == USER || of_others, "{kind} by {account}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_stops_during_a_run_is_waited_for() {
    let (realm, mut line) = realm("25").await;
    let id = realm.at_work().await;
    line.cut().await;
    // Every token that is out there is refused from now on, and there is nobody to give another.
    realm.control(&realm.sidecar, "expire", json!({})).await;
    is_missed(&realm).await;
    let run = realm.shown(&id).await;
    assert!(["running", "waiting"].contains(&run["status"].as_str().unwrap()), "{run:#}");
    line.mend().await;
    let run = eventually("the end of the run", async || {
        let run = realm.shown(&id).await;
        (!["queued", "running", "waiting"].contains(&run["status"].as_str().unwrap())).then_some(run)
    })
    .await;
    assert_eq!(run["status"], "done", "{run:#}");
    only_the_agent_user_acted(&realm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_stays_away_leaves_a_run_that_waits_and_says_for_what() {
    let (realm, mut line) = realm("25").await;
    let id = realm.at_work().await;
    line.cut().await;
    realm.control(&realm.sidecar, "expire", json!({})).await;
    // What was under way with a good token is over by then.
    is_missed(&realm).await;
    let before = realm.ledger().await.len();
    // It is asked for a minute before anybody is told.
    let run = tokio::time::timeout(PATIENCE * 2, async {
        loop {
            let run = realm.shown(&id).await;
            if run["status"] == "waiting" {
                return run;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let run = run.await.expect("the run says that it waits");
    let said = run.to_string();
    assert!(said.contains("sidecar") && said.contains("did not answer"), "{said}");
    assert!(run["remedy"].as_str().is_some_and(|remedy| remedy.contains("auth sidecar")), "{said}");
    assert_eq!(realm.ledger().await.len(), before, "nothing was changed meanwhile");
    line.mend().await;
    let run = realm.settled(&id).await;
    assert_ne!(run["status"], "failed", "{run:#}");
    only_the_agent_user_acted(&realm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_rotate_during_a_run_disturb_nobody() {
    let (realm, _line) = realm("25").await;
    for end_old in [false, true] {
        let id = realm.at_work().await;
        realm.control(&realm.entra, "entra/rotate-keys", json!({ "end_old": end_old })).await;
        if end_old {
            // The sidecar's own cache is past its use, too.
            realm.control(&realm.sidecar, "restart", Value::Null).await;
        }
        assert_eq!(realm.settled(&id).await["status"], "done", "end_old: {end_old}");
    }
    only_the_agent_user_acted(&realm).await;
}

/// A token of Graph for alice, as an administrator's own script gets it.
async fn administrators_token(realm: &Realm) -> String {
    let entra = realm.entra.trim_end_matches('/');
    let at = |what: &str| format!("{entra}/{TENANT}/oauth2/v2.0/{what}");
    let scope = "https://graph.microsoft.com/.default";
    let asked = realm.http.post(at("devicecode")).form(&[("client_id", SETUP_CLIENT), ("scope", scope)]);
    let asked: Value = asked.send().await.unwrap().json().await.unwrap();
    let code = asked["user_code"].as_str().unwrap_or_else(|| panic!("{asked}"));
    let typed =
        realm.http.post(format!("{entra}/devicelogin")).form(&[("user_code", code), ("user", "alice")]);
    assert!(typed.send().await.unwrap().status().is_success());
    let grant = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", SETUP_CLIENT),
        ("device_code", asked["device_code"].as_str().unwrap()),
    ];
    let token: Value = realm.http.post(at("token")).form(&grant).send().await.unwrap().json().await.unwrap();
    token["access_token"].as_str().unwrap_or_else(|| panic!("{token}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_rotated_during_a_run_parks_it_until_the_sidecar_has_the_new_one() {
    let (realm, _line) = realm("25").await;
    let id = realm.at_work().await;
    realm.control(&realm.entra, "entra/expire-secret", json!({})).await;
    realm.control(&realm.sidecar, "expire", json!({})).await;
    realm.control(&realm.sidecar, "restart", Value::Null).await;
    let run = realm.settled(&id).await;
    assert_eq!(run["status"], "parked", "{run:#}");
    assert!(run.to_string().contains("AADSTS7000222"), "{run:#}");
    // The administrator makes a new one, and the sidecar starts with it.
    let token = administrators_token(&realm).await;
    let graph = realm.entra.trim_end_matches('/');
    let body = json!({"passwordCredential": {"displayName": "rotated"}});
    let url = format!("{graph}/v1.0/applications/{BLUEPRINT}/addPassword");
    let made = realm.http.post(url).bearer_auth(token).json(&body).send().await.unwrap();
    let made: Value = made.json().await.unwrap();
    let secret = made["secretText"].as_str().unwrap_or_else(|| panic!("{made}"));
    realm.control(&realm.sidecar, "configure", json!({ "client_secret": secret })).await;
    realm.control(&realm.sidecar, "restart", Value::Null).await;
    let (status, body) =
        realm.post(&format!("/api/runs/{id}/messages"), None, json!({"text": "Go on."})).await;
    assert_eq!(status, 202, "{body}");
    let run = eventually("the run to go on to its end", async || {
        let run = realm.shown(&id).await;
        (run["status"] == "done").then_some(run)
    })
    .await;
    assert!(!run.to_string().contains(secret));
    only_the_agent_user_acted(&realm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_family_of_sidecars_serves_agent_and_doctor() {
    let (realm, _line) = realm("0").await;
    // Its gates are closed as if it were a later one: it has none.
    let first = json!({ "version": "1.0.0", "allow_overrides_unauthenticated": false });
    realm.control(&realm.sidecar, "configure", first).await;
    realm.control(&realm.sidecar, "expire", json!({})).await;
    let health = format!("{}/healthz", realm.sidecar.trim_end_matches('/'));
    let by_address = realm.http.get(&health).send().await.unwrap();
    assert_eq!(by_address.status(), 400);
    assert!(by_address.text().await.unwrap().contains("Invalid Hostname"));
    let id = realm.at_work().await;
    assert_eq!(realm.settled(&id).await["status"], "done");
    only_the_agent_user_acted(&realm).await;
    let (_, out, _) = realm.run(&["doctor", "--json"]).await;
    let list: Value = serde_json::from_str(&out).unwrap();
    let line = |id: &str| list["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap();
    for id in ["sidecar", "sidecar_version", "gates", "token", "member", "repository", "model"] {
        assert_eq!(line(id)["status"], "ok", "{:#}", line(id));
    }
    assert!(line("sidecar_version")["reason"].as_str().unwrap().contains("1.0.0"));
    // As Development it takes everybody's calls, which is said.
    let open = json!({ "version": "1.0.0", "development": true });
    realm.control(&realm.sidecar, "configure", open).await;
    let (_, out, _) = realm.run(&["doctor", "--json"]).await;
    assert!(out.contains("It runs as Development"), "{out}");
}
