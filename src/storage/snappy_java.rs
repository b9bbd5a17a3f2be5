//! The stream framing of Java's snappy library, which is not the framing of the snappy project.
//!
//! | bytes | content |
//! | --- | --- |
//! | 8 | 0x82, `SNAPPY`, 0 |
//! | 4 | version 1 |
//! | 4 | least version of a reader, 1 |
//! | then, repeated: 4 | length of a block, big-endian |
//! | .. | a raw snappy block of at most 32 KiB of content |

use std::io::{self, Read, Write};

/// How every such file begins.
pub(super) const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// What Java's writer puts in a block.
const BLOCK: usize = 32 << 10;
/// The largest block read; Java's writer can be told to use up to 512 MiB, nobody does.
const BLOCK_MAX: usize = 64 << 20;

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snappy: {what}"))
}

/// Compresses what is written.
#[derive(Debug)]
pub(super) struct Writer<W> {
    inner: W,
    plain: Vec<u8>,
    packed: Vec<u8>,
    encoder: snap::raw::Encoder,
    started: bool,
}

impl<W: Write> Writer<W> {
    pub fn new(inner: W) -> Writer<W> {
        Writer {
            inner,
            plain: Vec::with_capacity(BLOCK),
            packed: vec![0; snap::raw::max_compress_len(BLOCK)],
            encoder: snap::raw::Encoder::new(),
            started: false,
        }
    }

    fn block(&mut self) -> io::Result<()> {
        if !self.started {
            self.inner.write_all(&HEADER)?;
            self.started = true;
        }
        if self.plain.is_empty() {
            return Ok(());
        }
        let n = self.encoder.compress(&self.plain, &mut self.packed).map_err(io::Error::other)?;
        self.inner.write_all(&(n as u32).to_be_bytes())?;
        self.inner.write_all(&self.packed[..n])?;
        self.plain.clear();
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(mut self) -> io::Result<W> {
        self.block()?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(BLOCK - self.plain.len());
        self.plain.extend_from_slice(&bytes[..n]);
        if self.plain.len() == BLOCK {
            self.block()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decompresses what is read.
#[derive(Debug)]
pub(super) struct Reader<R> {
    inner: R,
    plain: Vec<u8>,
    at: usize,
    packed: Vec<u8>,
    started: bool,
}

impl<R: Read> Reader<R> {
    pub fn new(inner: R) -> Reader<R> {
        Reader { inner, plain: Vec::new(), at: 0, packed: Vec::new(), started: false }
    }

    /// False at a clean end.
    fn block(&mut self) -> io::Result<bool> {
        if !self.started {
            let mut header = [0; 16];
            self.inner.read_exact(&mut header)?;
            if header[..8] != MAGIC {
                return Err(invalid("no magic"));
            }
            self.started = true;
        }
        let mut length = [0; 4];
        let mut got = 0;
        while got < 4 {
            match self.inner.read(&mut length[got..])? {
                0 if got == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => got += n,
            }
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > BLOCK_MAX {
            // A second stream behind the first would begin with its magic here.
            return Err(invalid("a block is too long"));
        }
        self.packed.clear();
        let read = (&mut self.inner).take(length as u64).read_to_end(&mut self.packed)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let plain = snap::raw::decompress_len(&self.packed).map_err(|e| invalid(&e.to_string()))?;
        // No snappy block expands further than this, so no lie allocates more.
        if plain > length.saturating_mul(64) || plain > BLOCK_MAX {
            return Err(invalid("a block claims too much content"));
        }
        self.plain.resize(plain, 0);
        let n = snap::raw::Decoder::new()
            .decompress(&self.packed, &mut self.plain)
            .map_err(|e| invalid(&e.to_string()))?;
        self.plain.truncate(n);
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            if !self.block()? {
                return Ok(0);
            }
        }
        let n = buf.len().min(self.plain.len() - self.at);
        buf[..n].copy_from_slice(&self.plain[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
