//! A PostgreSQL of the tests' own: one server for the whole test process, a database for each test.
//!
//! The server runs in a temporary folder on a free port of this machine and ends with the process.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions as _, Connection as _};

/// Longest time for the server to get ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where Debian and its kin keep the programs of each version.
const PROGRAMS: &str = "/usr/lib/postgresql";

struct Server {
    port: u16,
    /// The server ends when this is closed, which the end of this process does.
    _alive: ChildStdin,
}

static SERVER: OnceLock<Server> = OnceLock::new();

/// The URL of a new, empty database.
pub async fn database() -> String {
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await.unwrap();
    let base = format!("postgres://tester@127.0.0.1:{}", server.port);
    let name = format!("t_{}", uuid::Uuid::new_v4().simple());
    let options: sqlx::postgres::PgConnectOptions = format!("{base}/postgres").parse().unwrap();
    // It takes connections before it is ready to serve them.
    let end = Instant::now() + PATIENCE;
    let mut connection = loop {
        match options.connect().await {
            Ok(connection) => break connection,
            Err(error) => assert!(Instant::now() < end, "PostgreSQL does not get ready: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    format!("{base}/{name}")
}

fn start() -> Server {
    let programs = programs();
    let folder = tempfile::Builder::new().prefix("ado-coworker-postgres-").tempdir().unwrap().keep();
    let user = if is_root() { Some(unprivileged()) } else { None };
    if let Some(user) = &user {
        run("chown", &[user, folder.to_str().unwrap()]);
    }
    let data = folder.join("data");
    let data = data.to_str().unwrap();
    let initdb = programs.join("initdb");
    let made = as_user(user.as_deref(), &initdb)
        .args(["-D", data, "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"])
        .current_dir(&folder)
        .output()
        .expect("initdb starts");
    assert!(made.status.success(), "initdb: {}", text(&made));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // The shell waits for the end of its input, which comes with the end of this process.
    let script =
        "\"$@\" >server.log 2>&1 & server=$!; cat >/dev/null; kill -QUIT $server; wait; cd /; rm -rf \"$0\"";
    #[allow(clippy::zombie_processes, reason = "it ends with this process, whose end closes its input")]
    let mut child = as_user(user.as_deref(), Path::new("sh"))
        .args(["-c", script, folder.to_str().unwrap(), programs.join("postgres").to_str().unwrap()])
        .args(["-D", data, "-p", &port.to_string(), "-k", "", "-F"])
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", "-c", "full_page_writes=off"])
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut alive = child.stdin.take().unwrap();
    let end = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
        assert!(Instant::now() < end, "PostgreSQL does not get ready: {}", log());
        std::thread::sleep(Duration::from_millis(30));
    }
    alive.flush().unwrap();
    Server { port, _alive: alive }
}

/// The folder of the newest version's programs.
fn programs() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(PROGRAMS)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, folder)| folder.join("initdb").exists())
        .collect();
    found.sort();
    let newest = found.pop().map(|(_, folder)| folder);
    newest.unwrap_or_else(|| {
        panic!("the tests need PostgreSQL's programs in {PROGRAMS}: apt-get install postgresql")
    })
}

fn is_root() -> bool {
    text(&run("id", &["-u"])).trim() == "0"
}

/// Root may not run the server; whoever can without a password.
fn unprivileged() -> String {
    let known = |user: &&str| command("id").args(["-u", user]).output().is_ok_and(|id| id.status.success());
    ["postgres", "nobody"].into_iter().find(known).expect("there is a user nobody").to_owned()
}

fn as_user(user: Option<&str>, program: &Path) -> Command {
    let Some(user) = user else { return command(program.to_str().unwrap()) };
    let mut command = command("setpriv");
    let group = text(&run("id", &["-g", user])).trim().to_owned();
    command
        .args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups", "--"])
        .arg(program);
    command
}

#[allow(clippy::disallowed_methods, reason = "the tests start a server for themselves")]
fn command(program: &str) -> Command {
    Command::new(program)
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = command(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output));
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}
