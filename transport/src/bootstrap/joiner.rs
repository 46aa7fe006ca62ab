//! The joining side of the protocol.

use std::time::Duration;

use super::{
    Build, Exporter, PROTOCOL,
    admission::{COORDINATOR_ROLE, JOINER_ROLE},
    message::{Hello, Inbox, Message, Nonce, cut},
    token::Token,
};
use crate::{
    config::Identity,
    error::Error,
    id::NodeId,
    tls::{self, ClusterId},
};

/// What a machine that joined has become.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its name.
    pub node: NodeId,
    /// What it proves itself with.
    pub identity: Identity,
    /// How long its certificate is valid from now on.
    pub valid: Duration,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The program that the coordinator runs.
    pub coordinator: Build,
}

/// One attempt to join. Send [`hello`](Self::hello), then hand over what arrives until it is done.
pub(super) struct Joiner {
    token: Token,
    build: Build,
    host: String,
    nonce: Nonce,
    exporter: Exporter,
    private_key: Vec<u8>,
    public_key: Vec<u8>,
    coordinator: Option<Build>,
    inbox: Inbox,
}

/// What to do next.
pub(super) enum Step {
    Wait,
    Send(Vec<u8>),
    Done(Box<Joined>),
}

impl Joiner {
    pub(super) fn new(
        token: &Token,
        build: &Build,
        host: &str,
        exporter: Exporter,
    ) -> Result<Self, Error> {
        let (private_key, public_key) = tls::node_key()?;
        Ok(Self {
            token: token.clone(),
            build: build.clone(),
            host: cut(host),
            nonce: tls::random()?,
            exporter,
            private_key,
            public_key,
            coordinator: None,
            inbox: Inbox::default(),
        })
    }

    pub(super) fn hello(&self) -> Vec<u8> {
        Message::Hello(Hello {
            protocol: PROTOCOL,
            build: self.build.clone(),
            host: self.host.clone(),
            token: self.token.name,
            nonce: self.nonce,
        })
        .encode()
    }

    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) -> Result<Step, Error> {
        match self.inbox.push(bytes) {
            Ok(None) => Ok(Step::Wait),
            Ok(Some(message)) => self.handle_message(message),
            Err(_) => Err(odd()),
        }
    }

    fn handle_message(&mut self, message: Message) -> Result<Step, Error> {
        match message {
            Message::Refused { reason } => Err(Error::Refused { reason }),
            Message::Challenge { build, nonce, proof } => self.answer(build, &nonce, proof),
            Message::Admitted { node, valid_ms, certificate, authority } => {
                let valid = Duration::from_millis(valid_ms);
                self.admitted((NodeId(node), valid), certificate, authority)
            }
            Message::Hello(_) | Message::Proof { .. } => Err(odd()),
        }
    }

    fn answer(&mut self, build: Build, nonce: &Nonce, proof: [u8; 32]) -> Result<Step, Error> {
        if self.coordinator.is_some() {
            return Err(odd());
        }
        let key = self.token.proof_key();
        let shared = [self.exporter.as_slice(), &self.nonce, nonce];
        if key.proof(COORDINATOR_ROLE, &shared) != proof {
            let reason = "the coordinator does not know the token".into();
            return Err(Error::Refused { reason });
        }
        self.coordinator = Some(build);
        let parts = [self.exporter.as_slice(), &self.nonce, nonce, &self.public_key];
        let proof = *key.proof(JOINER_ROLE, &parts).as_bytes();
        Ok(Step::Send(Message::Proof { proof, public_key: self.public_key.clone() }.encode()))
    }

    fn admitted(
        &mut self,
        (node, valid): (NodeId, Duration),
        certificate: Vec<u8>,
        authority: Vec<u8>,
    ) -> Result<Step, Error> {
        let coordinator = self.coordinator.take().ok_or_else(odd)?;
        if self.token.authority.is_some_and(|known| tls::fingerprint(&authority) != known) {
            return Err(odd());
        }
        let cluster = ClusterId::of_authority(&authority);
        let key = std::mem::take(&mut self.private_key);
        let identity = Identity { certificate, key, authority };
        tls::check_own(&identity, node)?;
        Ok(Step::Done(Box::new(Joined { node, identity, valid, cluster, coordinator })))
    }
}

fn odd() -> Error {
    Error::Refused {
        reason: "the coordinator's answer was not understood: is it the port of a faasm \
                 coordinator of the same version?"
            .into(),
    }
}
