//! Reading a standard input for ranks that are elsewhere, only when one of them waits for it.

use crate::host::wasi::StdinReader;

/// Bytes of input in one message.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// Bytes of input that are kept for ranks which may move to other nodes. Once more have been read, those stay.
pub(crate) const STDIN_KEPT_BYTES_MAX: u64 = 64 << 20;

/// Reads a piece of input for each demand, until the input or the demands end.
pub(crate) fn read_on_demand(
    mut reader: StdinReader,
    demands: &flume::Receiver<()>,
    mut send: impl FnMut(&[u8]),
) {
    let Ok(waiting) = tokio::runtime::Builder::new_current_thread().build() else {
        return send(&[]);
    };
    let mut buffer = vec![0; INPUT_BYTES_MAX];
    while demands.recv().is_ok() {
        let readable = waiting.block_on(async {
            tokio::select! {
                () = reader.readable() => true,
                // Nothing is demanded twice, so this is the end of the job.
                _ = demands.recv_async() => false,
            }
        });
        if !readable {
            return;
        }
        let len = reader.take(&mut buffer);
        send(&buffer[..len]);
        if len == 0 {
            return;
        }
    }
}
