//! A TCP proxy of ours between two processes: it counts bytes, and misbehaves on demand.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes moved at once.
const CHUNK: usize = 16 * 1024;

/// How a proxy treats what passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    /// Passes everything on.
    Honest,
    /// Ends every connection before a byte passes.
    Refuse,
    /// Passes a request that begins so, and ends the connection where its answer would come.
    LoseAnswers(&'static str),
    /// Takes everything and answers nothing, and ends the connection after this long.
    BlackHole(Duration),
    /// Passes one byte at a time.
    Dribble,
}

/// Counts what passes through several proxies, and kills a process at one byte.
#[derive(Default)]
pub struct Meter {
    bytes: AtomicU64,
    kill: Mutex<Option<(u64, u32)>>,
    /// When something first passed since it was last asked to watch.
    first: Mutex<Option<Option<Instant>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Kills `pid` when so many bytes have passed; the byte itself and what follows do not pass.
    pub fn kill_at(&self, offset: u64, pid: u32) {
        *lock(&self.kill) = Some((self.bytes() + offset, pid));
    }

    /// Begins to wait for the first byte.
    pub fn watch(&self) {
        *lock(&self.first) = Some(None);
    }

    /// When the first byte passed since [`Meter::watch`].
    pub fn first(&self) -> Option<Instant> {
        lock(&self.first).flatten()
    }

    /// How many of `n` bytes may pass.
    fn take(&self, n: usize) -> usize {
        if let Some(first @ None) = &mut *lock(&self.first) {
            *first = Some(Instant::now());
        }
        let before = self.bytes.fetch_add(n as u64, Ordering::SeqCst);
        let mut kill = lock(&self.kill);
        match *kill {
            Some((at, pid)) if before + n as u64 >= at => {
                *kill = None;
                super::site::signal("KILL", pid);
                usize::try_from(at.saturating_sub(before)).unwrap_or(0).min(n)
            }
            _ => n,
        }
    }
}

/// A proxy. It listens until it is dropped.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    way: Arc<Way>,
    accepting: JoinHandle<()>,
}

/// How a proxy passes things on.
pub struct Way {
    target: Mutex<Option<SocketAddr>>,
    manner: Mutex<Manner>,
    meter: Arc<Meter>,
    lost: AtomicU64,
    cuts: watch::Sender<u32>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    pub async fn start(target: Option<SocketAddr>, meter: Arc<Meter>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(Way {
            target: Mutex::new(target),
            manner: Mutex::new(Manner::Honest),
            meter,
            lost: AtomicU64::new(0),
            cuts: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, way.clone()));
        Self { address, way, accepting }
    }

    /// Sends new connections there; none: they are ended at once.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        *lock(&self.way.target) = target;
    }

    pub fn behave(&self, manner: Manner) {
        self.way.behave(manner);
    }

    /// Ends every connection that is open now.
    pub fn cut(&self) {
        self.way.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// To change its manner from elsewhere.
    pub fn way(&self) -> Arc<Way> {
        self.way.clone()
    }

    /// How many answers were lost on purpose.
    pub fn lost(&self) -> u64 {
        self.way.lost()
    }
}

async fn accept(listener: TcpListener, way: Arc<Way>) {
    while let Ok((client, _)) = listener.accept().await {
        let way = way.clone();
        tokio::spawn(async move { way.carry(client).await });
    }
}

impl Way {
    pub fn behave(&self, manner: Manner) {
        *lock(&self.manner) = manner;
    }

    /// How many answers were lost on purpose.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::SeqCst)
    }

    fn manner(&self) -> Manner {
        *lock(&self.manner)
    }

    async fn carry(self: Arc<Self>, client: TcpStream) {
        let target = *lock(&self.target);
        let Some(target) = target.filter(|_| self.manner() != Manner::Refuse) else { return };
        let Ok(server) = TcpStream::connect(target).await else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let doomed = Arc::new(AtomicU64::new(0));
        let mut cuts = self.cuts.subscribe();
        let (there, back) = (self.clone(), self);
        let mind = doomed.clone();
        // The first end of either direction ends both, so that a broken connection is seen as broken.
        tokio::select! {
            () = there.requests(from_client, to_server, mind) => {}
            () = back.answers(from_server, to_client, doomed) => {}
            _ = cuts.changed() => {}
        }
    }

    async fn requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, doomed: Arc<AtomicU64>) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let Ok(n @ 1..) = from.read(&mut buffer).await else { return };
            match self.manner() {
                Manner::Refuse => return,
                Manner::LoseAnswers(start) if buffer[..n].starts_with(start.as_bytes()) => {
                    doomed.store(1, Ordering::SeqCst);
                }
                Manner::BlackHole(patience) => return tokio::time::sleep(patience).await,
                _ => {}
            }
            if !self.pass(&buffer[..n], &mut to).await {
                return;
            }
        }
    }

    async fn answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, doomed: Arc<AtomicU64>) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let Ok(n @ 1..) = from.read(&mut buffer).await else { return };
            if doomed.load(Ordering::SeqCst) == 1 {
                self.lost.fetch_add(1, Ordering::SeqCst);
                return;
            }
            match self.manner() {
                Manner::Refuse => return,
                Manner::BlackHole(patience) => return tokio::time::sleep(patience).await,
                _ => {}
            }
            if !self.pass(&buffer[..n], &mut to).await {
                return;
            }
        }
    }

    async fn pass(&self, bytes: &[u8], to: &mut OwnedWriteHalf) -> bool {
        let allowed = self.meter.take(bytes.len());
        let whole = allowed == bytes.len();
        let step = if self.manner() == Manner::Dribble { 1 } else { CHUNK };
        for piece in bytes[..allowed].chunks(step) {
            if to.write_all(piece).await.is_err() {
                return false;
            }
        }
        whole
    }
}
