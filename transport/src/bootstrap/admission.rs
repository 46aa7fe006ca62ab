//! The coordinator's side: tokens, and whom they admit.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;

use super::{
    Build, Exporter, PROTOCOL,
    message::{Hello, Inbox, Message, Nonce},
    token::{ProofKey, Token, TokenName},
};
use crate::{
    config::{Identity, NODES_MAX},
    error::Error,
    id::NodeId,
    tls::{self, Authority, CERTIFICATE_LIFETIME},
};

/// Tokens that may be open at once.
const TOKENS_MAX: usize = 1024;
pub(super) const JOINER_ROLE: &[u8] = b"joiner";
pub(super) const COORDINATOR_ROLE: &[u8] = b"coordinator";

/// Decides who becomes a node; cheap to clone.
#[derive(Clone)]
pub struct Admission(Arc<Shared>);

struct Shared {
    authority: Authority,
    build: Build,
    certificate_lifetime: Duration,
    state: Mutex<State>,
}

struct State {
    tokens: HashMap<TokenName, Entry>,
    next_node: u32,
    refused: u64,
}

struct Entry {
    key: ProofKey,
    ends: Instant,
    uses_left: u32,
}

/// A machine that has become a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admitted {
    /// Its new name.
    pub node: NodeId,
    /// What it calls itself; not checked.
    pub host: String,
    /// Where it joined from; its links may come from another port.
    pub addr: SocketAddr,
}

impl Admission {
    /// Admits nodes of the same build in this authority's name.
    pub fn new(authority: Authority, build: Build) -> Self {
        Self::with_lifetime(authority, build, CERTIFICATE_LIFETIME)
    }

    /// The same with another lifetime of the nodes' certificates.
    pub fn with_lifetime(authority: Authority, build: Build, lifetime: Duration) -> Self {
        let state = State { tokens: HashMap::new(), next_node: 1, refused: 0 };
        Self(Arc::new(Shared {
            authority,
            build,
            certificate_lifetime: lifetime,
            state: Mutex::new(state),
        }))
    }

    /// Makes a token that `uses` machines can join with in the next `ttl`.
    ///
    /// # Errors
    /// Too many tokens are open, or there were no random bytes.
    pub fn issue_token(&self, ttl: Duration, uses: u32) -> Result<Token, Error> {
        let token = Token::new(self.0.authority.fingerprint())?;
        self.accept(&token, ttl, uses)?;
        Ok(token)
    }

    /// Lets `uses` machines join with a token that was made elsewhere, in the next `ttl`.
    ///
    /// # Errors
    /// Too many tokens are open.
    pub fn accept(&self, token: &Token, ttl: Duration, uses: u32) -> Result<(), Error> {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        state.tokens.retain(|_, entry| entry.ends > now && entry.uses_left > 0);
        if state.tokens.len() >= TOKENS_MAX {
            return Err(Error::TooManyTokens { max: TOKENS_MAX });
        }
        let entry = Entry { key: token.proof_key(), ends: now + ttl, uses_left: uses };
        state.tokens.insert(token.name, entry);
        Ok(())
    }

    /// Makes a name for a node that is given its identity by other means than joining.
    ///
    /// # Errors
    /// The cluster has all the nodes it can have.
    pub fn next_node(&self) -> Result<NodeId, Error> {
        self.0.state.lock().next_node().ok_or(Error::TooManyNodes { max: NODES_MAX })
    }

    /// Certifies a new key of a node that is a member, from now on; the certificate, and how long it is
    /// valid.
    ///
    /// # Errors
    /// That is not a public key.
    pub fn renew(&self, node: NodeId, public_key: &[u8]) -> Result<(Vec<u8>, Duration), Error> {
        let Shared { authority, certificate_lifetime: lifetime, .. } = &*self.0;
        let certificate = authority.certify(node, public_key, SystemTime::now(), *lifetime)?;
        Ok((certificate, *lifetime))
    }

    /// What the coordinator proves itself with from now on, and when it has to have a new one: well before a
    /// certificate that is issued now runs out.
    ///
    /// # Errors
    /// There were no random bytes.
    pub fn issue_own(&self) -> Result<(Identity, Instant), Error> {
        let Shared { authority, certificate_lifetime: lifetime, .. } = &*self.0;
        let identity = authority.issue(NodeId::COORDINATOR, *lifetime)?;
        Ok((identity, Instant::now() + *lifetime / 3 * 2))
    }

    /// The authority in whose name nodes are admitted.
    pub fn authority(&self) -> &Authority {
        &self.0.authority
    }

    /// Attempts to join that were refused.
    pub fn refused_count(&self) -> u64 {
        self.0.state.lock().refused
    }

    fn find(&self, name: &TokenName, now: Instant) -> Result<ProofKey, String> {
        let state = self.0.state.lock();
        match state.tokens.get(name) {
            Some(entry) if entry.ends <= now => Err(EXPIRED.into()),
            Some(entry) if entry.uses_left == 0 => Err(USED.into()),
            Some(entry) => Ok(entry.key.clone()),
            None => Err(UNKNOWN.into()),
        }
    }

    /// Uses a token up by one; the name of the new node.
    fn redeem(&self, name: &TokenName, now: Instant) -> Result<NodeId, String> {
        let mut state = self.0.state.lock();
        let entry = state.tokens.get_mut(name).ok_or(UNKNOWN)?;
        if entry.ends <= now {
            return Err(EXPIRED.into());
        }
        entry.uses_left = entry.uses_left.checked_sub(1).ok_or(USED)?;
        state.next_node().ok_or_else(|| format!("the cluster has {NODES_MAX} nodes already"))
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("authority", &self.0.authority).finish_non_exhaustive()
    }
}

impl State {
    fn next_node(&mut self) -> Option<NodeId> {
        let node = self.next_node;
        if node as usize >= NODES_MAX {
            return None;
        }
        self.next_node += 1;
        Some(NodeId(node))
    }
}

/// One machine's attempt to join, at the coordinator.
#[derive(Debug)]
pub(crate) struct Session {
    addr: SocketAddr,
    exporter: Exporter,
    inbox: Inbox,
    state: SessionState,
}

enum SessionState {
    Start,
    Challenged { hello: Hello, nonce: Nonce, key: ProofKey },
    Over,
}

impl fmt::Debug for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "Start",
            Self::Challenged { .. } => "Challenged",
            Self::Over => "Over",
        })
    }
}

/// What the coordinator answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing yet.
    Wait,
    /// These bytes.
    Send(Vec<u8>),
    /// These bytes, and the machine is a node.
    Admit(Vec<u8>, Admitted),
    /// These bytes, and nothing more.
    Refuse(Vec<u8>, String),
}

impl Session {
    pub(crate) fn new(addr: SocketAddr, exporter: Exporter) -> Self {
        Self { addr, exporter, inbox: Inbox::default(), state: SessionState::Start }
    }

    /// What to answer to what arrived.
    pub(crate) fn handle_bytes(
        &mut self,
        admission: &Admission,
        bytes: &[u8],
        now: Instant,
    ) -> Answer {
        let message = match self.inbox.push(bytes) {
            Ok(None) => return Answer::Wait,
            Ok(Some(message)) => message,
            Err(_) => return self.refuse(admission, NOT_UNDERSTOOD.into()),
        };
        let answer = match (std::mem::replace(&mut self.state, SessionState::Over), message) {
            (SessionState::Start, Message::Hello(hello)) => self.challenge(admission, hello, now),
            (
                SessionState::Challenged { hello, nonce, key },
                Message::Proof { proof, public_key },
            ) => self.admit(admission, (&hello, &nonce, &key), proof, &public_key, now),
            _ => Err(NOT_UNDERSTOOD.into()),
        };
        answer.unwrap_or_else(|reason| self.refuse(admission, reason))
    }

    fn challenge(
        &mut self,
        admission: &Admission,
        hello: Hello,
        now: Instant,
    ) -> Result<Answer, String> {
        let ours = &admission.0.build;
        if hello.protocol != PROTOCOL || hello.build != *ours {
            return Err(format!(
                "{} runs {}, the coordinator {ours}; install the same version on both",
                hello.host, hello.build
            ));
        }
        let key = admission.find(&hello.token, now)?;
        let nonce: Nonce = tls::random().map_err(|error| error.to_string())?;
        let parts = [self.exporter.as_slice(), &hello.nonce, &nonce];
        let proof = *key.proof(COORDINATOR_ROLE, &parts).as_bytes();
        let message = Message::Challenge { build: ours.clone(), nonce, proof };
        self.state = SessionState::Challenged { hello, nonce, key };
        Ok(Answer::Send(message.encode()))
    }

    fn admit(
        &self,
        admission: &Admission,
        (hello, nonce, key): (&Hello, &Nonce, &ProofKey),
        proof: [u8; 32],
        public_key: &[u8],
        now: Instant,
    ) -> Result<Answer, String> {
        let parts = [self.exporter.as_slice(), &hello.nonce, nonce, public_key];
        // Hashes compare in constant time.
        if key.proof(JOINER_ROLE, &parts) != proof {
            return Err(UNKNOWN.into());
        }
        let node = admission.redeem(&hello.token, now)?;
        let authority = &admission.0.authority;
        let (certificate, valid) =
            admission.renew(node, public_key).map_err(|error| error.to_string())?;
        let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
        let authority = authority.certificate().to_vec();
        let message = Message::Admitted { node: node.0, valid_ms, certificate, authority };
        tracing::info!(%node, host = %hello.host, addr = %self.addr, "a machine joined");
        let admitted = Admitted { node, host: hello.host.clone(), addr: self.addr };
        Ok(Answer::Admit(message.encode(), admitted))
    }

    fn refuse(&mut self, admission: &Admission, reason: String) -> Answer {
        self.state = SessionState::Over;
        admission.0.state.lock().refused += 1;
        tracing::warn!(addr = %self.addr, reason, "a machine was not let into the cluster");
        Answer::Refuse(Message::Refused { reason: reason.clone() }.encode(), reason)
    }
}

const EXPIRED: &str = "the token has expired: make a new one with `faasm-run cluster token`";
const USED: &str = "the token has been used: make a new one with `faasm-run cluster token`";
const UNKNOWN: &str = "the coordinator knows no such token: make one with `faasm-run cluster \
                       token` on the coordinator's machine";
const NOT_UNDERSTOOD: &str = "what it said was not understood";
