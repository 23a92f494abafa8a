//! Servers that tests start, and stop when they end.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const HTTPS_SERVER: &str = r#"
import http.server, ssl
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("certificate.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("port", server.server_address[1], flush=True)
server.serve_forever()
"#;

/// Runs a program and gives what it says of itself; `None` where it is missing.
pub(crate) fn run(mut command: Command) -> Option<Output> {
    match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        ran => Some(ran.unwrap()),
    }
}

/// A program that serves on a port of its own choice.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a program and waits for the line that names its port after `before`; `None` where it is missing. One that is
    /// there and does not start is a failure.
    fn start(mut command: Command, before: &str) -> Option<Self> {
        let mut process = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            spawned => spawned.unwrap(),
        };
        let (sender, receiver) = std::sync::mpsc::channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(process.stdout.take().unwrap()), Box::new(process.stderr.take().unwrap())];
        let said = Arc::new(Mutex::new(String::new()));
        for stream in streams {
            let (sender, before, said) = (sender.clone(), before.to_owned(), Arc::clone(&said));
            // Read to the end, since a full pipe would stop the server.
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if let Some(at) = line.find(&before) {
                        let digits = line[at + before.len()..].chars().take_while(char::is_ascii_digit);
                        let _ = sender.send(digits.collect::<String>().parse().unwrap());
                    }
                    *said.lock().unwrap() += &(line + "\n");
                }
            });
        }
        drop(sender);
        // Fails at once where the program ends.
        let port = receiver.recv_timeout(Duration::from_secs(300));
        let server = Self { process, port: port.unwrap_or_default() };
        assert!(port.is_ok(), "{command:?} does not serve: {}", said.lock().unwrap());
        Some(server)
    }

    /// Python's own HTTP server, which knows no ranges.
    pub(crate) fn http(folder: &Path) -> Option<Self> {
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]).arg(folder);
        let server = Self::start(command, "port ");
        if server.is_none() {
            msn_golden::skip("no python3, whose http.server these tests ask");
        }
        server
    }

    /// The same behind TLS. `folder` has the chain `certificate.pem` and `key.pem` too.
    pub(crate) fn https(folder: &Path) -> Option<Self> {
        let mut probe = Command::new("python3");
        probe.args(["-c", "import ssl"]);
        if !run(probe).is_some_and(|probe| probe.status.success()) {
            msn_golden::skip("no python3 with ssl, whose http.server these tests ask");
            return None;
        }
        let mut command = Command::new("python3");
        command.args(["-u", "-c", HTTPS_SERVER]).current_dir(folder);
        Self::start(command, "port ")
    }

    /// The S3 server of the Python package `moto[server]`: `moto_server`, or the program that `MSN_MOTO_SERVER` names.
    pub(crate) fn s3() -> Option<Self> {
        let program = std::env::var_os("MSN_MOTO_SERVER").unwrap_or_else(|| "moto_server".into());
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        let server = Self::start(command, "Running on http://127.0.0.1:");
        if server.is_none() {
            msn_golden::skip(
                "no moto_server (`pip install 'moto[server]'`, or MSN_MOTO_SERVER), whose S3 API these tests ask",
            );
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a request with a body, and returns the answer.
pub(crate) fn put(port: u16, path: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What a server says of the version of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    /// An ETag that stands for the bytes.
    Strong,
    /// An ETag that stands for what they mean.
    Weak,
    /// Last-Modified alone.
    Times,
    Nothing,
}

impl Versions {
    fn tag(self, version: u32) -> Option<String> {
        match self {
            Self::Strong => Some(format!("\"v{version}\"")),
            Self::Weak => Some(format!("W/\"v{version}\"")),
            Self::Times | Self::Nothing => None,
        }
    }

    fn headers(self, version: u32) -> String {
        let tag = self.tag(version).map_or(String::new(), |tag| format!("ETag: {tag}\r\n"));
        match self {
            Self::Nothing => tag,
            _ => format!("{tag}Last-Modified: Tue, 24 Nov 2026 12:00:{version:02} GMT\r\n"),
        }
    }
}

/// What a server that fails on purpose does to one request for content.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Sends nothing for a while after so many bytes, then goes on.
    Pause(usize, Duration),
    /// Sends so many bytes of the file, whichever request they are for, and nothing more until the client gives up.
    StallAt(usize),
    /// Sends so many bytes and closes the connection.
    Close(usize),
    /// Answers 503.
    Busy,
    /// Serves other content of the same length from now on.
    Change,
}

/// Serves one file, with ranges and versions, and meets the requests for content with the faults, one each.
pub(crate) struct Faulty {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    content: Vec<u8>,
    versions: Versions,
    version: u32,
    faults: Vec<Fault>,
    /// The first byte asked for by each request for content.
    starts: Vec<usize>,
    /// What clients sent: first lines and headers.
    heads: Vec<String>,
}

impl Faulty {
    pub(crate) fn start(content: Vec<u8>, faults: &[Fault]) -> Self {
        Self::with_versions(Versions::Strong, content, faults)
    }

    pub(crate) fn with_versions(versions: Versions, content: Vec<u8>, faults: &[Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let faults = faults.iter().rev().copied().collect();
        let state = Arc::new(Mutex::new(State {
            content,
            versions,
            version: 1,
            faults,
            starts: Vec::new(),
            heads: Vec::new(),
        }));
        let served = Arc::clone(&state);
        // Ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&served);
                thread::spawn(move || {
                    let _ = serve(stream, &state);
                });
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/x.bin", self.address)
    }

    pub(crate) fn starts(&self) -> Vec<usize> {
        self.state.lock().unwrap().starts.clone()
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.state.lock().unwrap().heads.clone()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let lower = head.to_lowercase();
    let header = |name: &str| lower.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    let (content, versions, version, fault, range) = {
        let mut state = state.lock().unwrap();
        state.heads.push(head.clone());
        let is_get = head.starts_with("GET");
        let fault = match state.faults.last() {
            Some(&stall @ Fault::StallAt(_)) => Some(stall),
            _ if is_get => state.faults.pop(),
            _ => None,
        };
        if let Some(Fault::Change) = fault {
            state.content.iter_mut().for_each(|byte| *byte = !*byte);
            state.version += 1;
        }
        let range = header("range: bytes=").map(|range| {
            let (start, end) = range.split_once('-').unwrap();
            (start.parse::<usize>().unwrap(), end.parse::<usize>().map_or(state.content.len(), |end| end + 1))
        });
        if is_get {
            state.starts.push(range.map_or(0, |range| range.0));
        }
        (state.content.clone(), state.versions, state.version, fault, range)
    };
    let answer = |status: &str, headers: String| {
        let version = versions.headers(version);
        format!("HTTP/1.1 {status}\r\n{version}Connection: close\r\n{headers}\r\n")
    };
    if let Some(Fault::Busy) = fault {
        return stream
            .write_all(answer("503 Service Unavailable", "Content-Length: 0\r\n".to_owned()).as_bytes());
    }
    // Strongly: a weak tag matches nothing, not even itself.
    let matches =
        |wanted: &str| versions == Versions::Strong && versions.tag(version).as_deref() == Some(wanted);
    if header("if-match: ").is_some_and(|wanted| !matches(&wanted)) {
        return stream
            .write_all(answer("412 Precondition Failed", "Content-Length: 0\r\n".to_owned()).as_bytes());
    }
    let (status, start, end) = match range {
        Some((start, end)) => ("206 Partial Content", start, end.min(content.len())),
        None => ("200 OK", 0, content.len()),
    };
    let mut headers = format!("Content-Length: {}\r\n", end - start);
    if range.is_some() {
        headers += &format!("Content-Range: bytes {start}-{}/{}\r\n", end - 1, content.len());
    }
    stream.write_all(answer(status, headers).as_bytes())?;
    if head.starts_with("HEAD") {
        return Ok(());
    }
    let body = &content[start..end];
    match fault {
        Some(Fault::Pause(after, pause)) => {
            let (first, second) = body.split_at(after.min(body.len()));
            stream.write_all(first)?;
            stream.flush()?;
            thread::sleep(pause);
            stream.write_all(second)
        }
        Some(Fault::StallAt(at)) if start < at && at < end => {
            let (first, second) = body.split_at(at - start);
            stream.write_all(first)?;
            // Long enough for any client that does not wait for ever: one that does gets the rest in a single answer.
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            match stream.read(&mut [0]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    stream.write_all(second)
                }
                _ => Ok(()),
            }
        }
        Some(Fault::Close(after)) => stream.write_all(&body[..after.min(body.len())]),
        _ => stream.write_all(body),
    }
}
