//! A network between a client and a server on loopback, which stalls when it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Hands on what either side sends. Connections are accepted even while no byte passes, as by a router that is up.
pub(crate) struct Link {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// When to stall, counted in bytes for the client, and for how long.
    armed: Option<(usize, Duration)>,
    /// Set once it has begun to stall.
    stalled_until: Option<Instant>,
}

impl Link {
    /// A link to a port of this machine. Its threads end with the process.
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let (from_client, to_client) = (client.try_clone().unwrap(), client);
                let (from_server, to_server) = (server.try_clone().unwrap(), server);
                let (asking, answering) = (Arc::clone(&shared), Arc::clone(&shared));
                thread::spawn(move || hand_on(from_client, to_server, &asking, false));
                thread::spawn(move || hand_on(from_server, to_client, &answering, true));
            }
        });
        Self { port, state }
    }

    /// Lets no byte pass for a while, once so many have gone to the client.
    pub(crate) fn stall_after(&self, bytes: usize, pause: Duration) {
        self.state.lock().unwrap().armed = Some((bytes, pause));
    }

    pub(crate) fn has_stalled(&self) -> bool {
        self.state.lock().unwrap().stalled_until.is_some()
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, state: &Mutex<State>, to_client: bool) {
    let mut buffer = [0; 2048];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let wait = {
            let mut state = state.lock().unwrap();
            if to_client && let Some((left, pause)) = state.armed {
                state.armed = left.checked_sub(count).map(|left| (left, pause));
                if state.armed.is_none() {
                    state.stalled_until = Some(Instant::now() + pause);
                }
            }
            state.stalled_until.map(|until| until.saturating_duration_since(Instant::now()))
        };
        thread::sleep(wait.unwrap_or_default());
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
