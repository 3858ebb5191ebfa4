//! Writes down every byte between a client and a simulated organisation, when it is asked to.
//!
//! With ADO_COWORKER_TEST_EXCHANGES set to a folder, a client is given the address of a relay that
//! copies both directions into files there; `scripts/check_exchanges.py` reads them afterwards. The
//! relay changes nothing but the port in addresses, so that a client that follows them stays on it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How long the beginning of an address may wait for its end.
const HOLD: Duration = Duration::from_millis(20);
/// Bytes moved at once.
const CHUNK: usize = 64 * 1024;

/// The address to use in place of the organisation's own: the same, or that of a relay.
#[allow(clippy::disallowed_methods, reason = "a switch of the tests, not a setting of the product")]
pub async fn recorded(organization: &str) -> String {
    let Some(folder) = std::env::var_os("ADO_COWORKER_TEST_EXCHANGES") else {
        return organization.to_owned();
    };
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let url = url::Url::parse(organization).unwrap();
    let real = format!("127.0.0.1:{}", url.port().unwrap());
    // Of equal length, so that no Content-Length changes.
    let (listener, own) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        if own.len() == real.len() {
            break (listener, own);
        }
    };
    let address = organization.replace(&real, &own);
    // On a thread of its own: a test's own runtime may be busy waiting for the answer.
    let listener = listener.into_std().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            relay(TcpListener::from_std(listener).unwrap(), folder, own, real).await;
        });
    });
    address
}

async fn relay(listener: TcpListener, folder: PathBuf, own: String, real: String) {
    static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
    while let Ok((client, _)) = listener.accept().await {
        let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let name = folder.join(format!("{}-{number}", std::process::id()));
        let (own, real) = (own.clone(), real.clone());
        tokio::spawn(async move {
            // A client that goes away early is no concern of the relay.
            let _ = connection(client, &name, &own, &real).await;
        });
    }
}

async fn connection(mut client: TcpStream, name: &Path, own: &str, real: &str) -> std::io::Result<()> {
    let mut server = TcpStream::connect(real).await?;
    let (client_reads, client_writes) = client.split();
    let (server_reads, server_writes) = server.split();
    let requests = File::create(name.with_extension("requests")).await?;
    let responses = File::create(name.with_extension("responses")).await?;
    // The first error of either direction ends both, so that a broken connection is seen as broken.
    tokio::try_join!(
        copy(client_reads, server_writes, requests, (own, real)),
        copy(server_reads, client_writes, responses, (real, own)),
    )?;
    Ok(())
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut record: File,
    (found, put): (&str, &str),
) -> std::io::Result<()> {
    let (found, put) = (found.as_bytes(), put.as_bytes());
    let (mut held, mut buffer) = (Vec::new(), vec![0; CHUNK]);
    loop {
        let read = match tokio::time::timeout(HOLD, from.read(&mut buffer)).await {
            Ok(read) => read?,
            Err(_) if held.is_empty() => from.read(&mut buffer).await?,
            Err(_) => {
                send(&mut to, &mut record, &std::mem::take(&mut held)).await?;
                continue;
            }
        };
        held.extend_from_slice(&buffer[..read]);
        replace(&mut held, found, put);
        let keep = if read == 0 { 0 } else { beginning(&held, found) };
        let rest = held.split_off(held.len() - keep);
        send(&mut to, &mut record, &std::mem::replace(&mut held, rest)).await?;
        if read == 0 {
            return to.shutdown().await;
        }
    }
}

async fn send(to: &mut (impl AsyncWrite + Unpin), record: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    record.write_all(bytes).await?;
    // A test may end the process at any time; what was answered must be in the file by then.
    record.flush().await?;
    to.write_all(bytes).await
}

fn replace(bytes: &mut [u8], found: &[u8], put: &[u8]) {
    let mut at = 0;
    while at + found.len() <= bytes.len() {
        if bytes[at..].starts_with(found) {
            bytes[at..at + put.len()].copy_from_slice(put);
            at += put.len();
        } else {
            at += 1;
        }
    }
}

/// Length of the longest end of `bytes` that could be the beginning of `found`.
fn beginning(bytes: &[u8], found: &[u8]) -> usize {
    (1..found.len()).rev().find(|&length| bytes.ends_with(&found[..length])).unwrap_or(0)
}

#[test]
fn an_address_cut_in_two_is_still_found() {
    let found = b"127.0.0.1:40001";
    assert_eq!(beginning(b"see http://127.0.0.1:4", found), 11);
    assert_eq!(beginning(b"see http://127.0.0.2", found), 0);
    let mut bytes = b"a 127.0.0.1:40001 b 127.0.0.1:40001".to_vec();
    replace(&mut bytes, found, b"127.0.0.1:50002");
    assert_eq!(bytes, b"a 127.0.0.1:50002 b 127.0.0.1:50002");
}
