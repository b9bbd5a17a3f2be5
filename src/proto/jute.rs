//! Jute, ZooKeeper's serialisation: big-endian integers, length-prefixed buffers, -1 for null.
//!
//! The reader is bounded by the bytes it holds: a length is checked against what remains before
//! anything is allocated, so no input makes it allocate more than a small multiple of its size.

use std::borrow::Cow;

use byteorder::{BigEndian, ByteOrder};
use bytes::{BufMut, Bytes, BytesMut};

use crate::types::{Acl, Id, Perms, Stat, StatPersisted};

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record is longer than the bytes: `needed` more at `offset`.
    #[error("unexpected end at offset {offset}: {needed} more bytes needed")]
    UnexpectedEnd {
        /// Where reading stopped.
        offset: usize,
        /// How many bytes are missing at least.
        needed: usize,
    },
    /// A length below -1, or larger than the limit or the input.
    #[error("unreasonable length {length} of a {what} at offset {offset}")]
    Length {
        /// What was to be read.
        what: &'static str,
        /// The length found.
        length: i64,
        /// Where it stands.
        offset: usize,
    },
    /// A value that the record does not allow.
    #[error("invalid {what}: {value}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// The value found.
        value: i64,
    },
}

/// Reads records from shared bytes; buffers come out as slices of them, without a copy.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: Bytes) -> Reader {
        Reader { bytes, at: 0 }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Bytes read so far.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// What has not been read, shared.
    pub fn rest(&self) -> Bytes {
        self.bytes.slice(self.at..)
    }

    fn take(&mut self, n: usize) -> Result<&[u8], DecodeError> {
        let left = self.remaining();
        if n > left {
            return Err(DecodeError::UnexpectedEnd { offset: self.at, needed: n - left });
        }
        self.at += n;
        Ok(&self.bytes[self.at - n..self.at])
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    /// A boolean: any byte but zero is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.u8()? != 0)
    }

    /// A 32-bit integer.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(BigEndian::read_i32(self.take(4)?))
    }

    /// A 64-bit integer.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(BigEndian::read_i64(self.take(8)?))
    }

    /// The length of a buffer or string: None for null, otherwise what really is there.
    fn length(&mut self, what: &'static str) -> Result<Option<usize>, DecodeError> {
        let offset = self.at;
        let length = self.i32()?;
        match length {
            -1 => Ok(None),
            n if n < 0 => Err(DecodeError::Length { what, length: n.into(), offset }),
            n if n as usize > self.remaining() => Err(DecodeError::UnexpectedEnd {
                offset: self.at,
                needed: n as usize - self.remaining(),
            }),
            n => Ok(Some(n as usize)),
        }
    }

    /// A buffer, shared with the input; None for null.
    pub fn buffer(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(n) = self.length("buffer")? else { return Ok(None) };
        self.at += n;
        Ok(Some(self.bytes.slice(self.at - n..self.at)))
    }

    /// Where a buffer is, for [`Reader::seen`]; null is an empty one. For buffers that are looked at
    /// together with what follows them.
    pub fn skip_buffer(&mut self) -> Result<std::ops::Range<usize>, DecodeError> {
        let n = self.length("buffer")?.unwrap_or(0);
        self.at += n;
        Ok(self.at - n..self.at)
    }

    /// The same where null and empty differ.
    pub fn skip_data(&mut self) -> Result<Option<std::ops::Range<usize>>, DecodeError> {
        let Some(n) = self.length("buffer")? else { return Ok(None) };
        self.at += n;
        Ok(Some(self.at - n..self.at))
    }

    /// A part of the input, by [`Reader::skip_buffer`] of this reader.
    pub fn seen(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// A string, borrowed where it is valid UTF-8; malformed parts become U+FFFD, as in Java.
    pub fn str(&mut self) -> Result<Option<Cow<'_, str>>, DecodeError> {
        let Some(n) = self.length("string")? else { return Ok(None) };
        let bytes = self.take(n)?;
        // The strict check is several times faster than the lossy one, and nearly always enough.
        Ok(Some(match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(bytes),
        }))
    }

    /// A string of its own.
    pub fn string(&mut self) -> Result<Option<String>, DecodeError> {
        Ok(self.str()?.map(Cow::into_owned))
    }

    /// A vector; None for null. Every element takes at least one byte, so the count is bounded by
    /// what remains.
    pub fn vec<T: Jute>(&mut self) -> Result<Option<Vec<T>>, DecodeError> {
        let offset = self.at;
        let count = self.i32()?;
        if count == -1 {
            return Ok(None);
        }
        if count < 0 {
            return Err(DecodeError::Length { what: "vector", length: count.into(), offset });
        }
        let count = count as usize;
        if count > self.remaining() {
            let needed = count - self.remaining();
            return Err(DecodeError::UnexpectedEnd { offset: self.at, needed });
        }
        let mut items = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            items.push(T::read(self)?);
        }
        Ok(Some(items))
    }

    /// Any record.
    pub fn get<T: Jute>(&mut self) -> Result<T, DecodeError> {
        T::read(self)
    }
}

/// A length as it goes to the wire.
///
/// # Panics
/// Beyond 2^31 - 1.
#[inline]
pub fn wire_length(n: usize) -> i32 {
    match i32::try_from(n) {
        Ok(n) => n,
        Err(_) => panic!("{n} bytes or elements are more than a record can have (2147483647)"),
    }
}

/// Appends jute to a buffer; the counterpart of [`Reader`]. Implemented by [`BytesMut`].
pub trait Write {
    /// The buffer.
    fn buf(&mut self) -> &mut BytesMut;

    /// A boolean.
    fn bool(&mut self, v: bool) {
        self.buf().put_u8(v.into());
    }

    /// A 32-bit integer.
    fn i32(&mut self, v: i32) {
        self.buf().put_i32(v);
    }

    /// A 64-bit integer.
    fn i64(&mut self, v: i64) {
        self.buf().put_i64(v);
    }

    /// The number of elements of a vector, or bytes of a buffer.
    ///
    /// # Panics
    /// Beyond 2^31 - 1: a reply is bounded far below that, and what is not must not go to the wire
    /// with a length that says something else.
    fn count(&mut self, n: usize) {
        self.i32(wire_length(n));
    }

    /// A buffer, None as null.
    fn buffer(&mut self, v: Option<&[u8]>) {
        match v {
            None => self.i32(-1),
            Some(v) => {
                self.count(v.len());
                self.buf().put_slice(v);
            }
        }
    }

    /// A string, as Java writes it: each UTF-16 unit on its own, so that a character outside the
    /// BMP takes six bytes and not four.
    fn str(&mut self, v: &str) {
        if v.bytes().all(|b| b < 0xf0) {
            return self.buffer(Some(v.as_bytes()));
        }
        let start = self.buf().len();
        self.i32(0);
        for c in v.chars() {
            let mut units = [0_u16; 2];
            if c.len_utf16() == 1 {
                let mut utf8 = [0_u8; 4];
                self.buf().put_slice(c.encode_utf8(&mut utf8).as_bytes());
                continue;
            }
            for unit in c.encode_utf16(&mut units) {
                let u = u32::from(*unit);
                self.buf().put_u8((0xe0 | u >> 12) as u8);
                self.buf().put_u8((0x80 | u >> 6 & 0x3f) as u8);
                self.buf().put_u8((0x80 | u & 0x3f) as u8);
            }
        }
        let length = self.buf().len() - start - 4;
        BigEndian::write_i32(&mut self.buf()[start..start + 4], wire_length(length));
    }

    /// A string, None as null.
    fn opt_str(&mut self, v: Option<&str>) {
        match v {
            None => self.i32(-1),
            Some(v) => self.str(v),
        }
    }

    /// A vector, None as null.
    fn vec<T: Jute>(&mut self, v: Option<&[T]>)
    where
        Self: Sized,
    {
        match v {
            None => self.i32(-1),
            Some(v) => {
                self.count(v.len());
                v.iter().for_each(|item| item.write(self.buf()));
            }
        }
    }

    /// Any record.
    fn put<T: Jute>(&mut self, v: &T)
    where
        Self: Sized,
    {
        v.write(self.buf());
    }
}

impl Write for BytesMut {
    fn buf(&mut self) -> &mut BytesMut {
        self
    }
}

/// A value with a jute encoding.
pub trait Jute: Sized {
    /// Decodes one; surplus bytes stay in the reader.
    fn read(r: &mut Reader) -> Result<Self, DecodeError>;
    /// Appends the encoding.
    fn write(&self, w: &mut BytesMut);

    /// The encoding alone.
    fn to_bytes(&self) -> Bytes {
        let mut w = BytesMut::new();
        self.write(&mut w);
        w.freeze()
    }

    /// Decodes one from the start of `bytes`, ignoring what follows, as Apache does.
    fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(bytes))
    }
}

impl Jute for () {
    fn read(_: &mut Reader) -> Result<(), DecodeError> {
        Ok(())
    }
    fn write(&self, _: &mut BytesMut) {}
}

impl Jute for bool {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        r.bool()
    }
    fn write(&self, w: &mut BytesMut) {
        w.bool(*self);
    }
}

impl Jute for i32 {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        r.i32()
    }
    fn write(&self, w: &mut BytesMut) {
        w.i32(*self);
    }
}

impl Jute for i64 {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        r.i64()
    }
    fn write(&self, w: &mut BytesMut) {
        w.i64(*self);
    }
}

/// A string that is not null; null is an error of the decoder.
impl Jute for String {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        r.string()?.ok_or(DecodeError::Invalid { what: "null string", value: -1 })
    }
    fn write(&self, w: &mut BytesMut) {
        w.str(self);
    }
}

impl Jute for Option<String> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        r.string()
    }
    fn write(&self, w: &mut BytesMut) {
        w.opt_str(self.as_deref());
    }
}

impl Jute for Option<Bytes> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        r.buffer()
    }
    fn write(&self, w: &mut BytesMut) {
        w.buffer(self.as_deref());
    }
}

impl<T: Jute> Jute for Option<Vec<T>> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        r.vec()
    }
    fn write(&self, w: &mut BytesMut) {
        w.vec(self.as_deref());
    }
}

impl Jute for Id {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Id { scheme: r.string()?, id: r.string()? })
    }
    fn write(&self, w: &mut BytesMut) {
        w.opt_str(self.scheme.as_deref());
        w.opt_str(self.id.as_deref());
    }
}

impl Jute for Acl {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Acl { perms: Perms(r.i32()?), id: r.get()? })
    }
    fn write(&self, w: &mut BytesMut) {
        w.i32(self.perms.0);
        self.id.write(w);
    }
}

/// The client's stat, 68 bytes.
impl Jute for Stat {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Stat {
            czxid: r.i64()?,
            mzxid: r.i64()?,
            ctime: r.i64()?,
            mtime: r.i64()?,
            version: r.i32()?,
            cversion: r.i32()?,
            aversion: r.i32()?,
            ephemeral_owner: r.i64()?,
            data_length: r.i32()?,
            num_children: r.i32()?,
            pzxid: r.i64()?,
        })
    }
    fn write(&self, w: &mut BytesMut) {
        let mut b = [0_u8; 68];
        BigEndian::write_i64(&mut b[0..], self.czxid);
        BigEndian::write_i64(&mut b[8..], self.mzxid);
        BigEndian::write_i64(&mut b[16..], self.ctime);
        BigEndian::write_i64(&mut b[24..], self.mtime);
        BigEndian::write_i32(&mut b[32..], self.version);
        BigEndian::write_i32(&mut b[36..], self.cversion);
        BigEndian::write_i32(&mut b[40..], self.aversion);
        BigEndian::write_i64(&mut b[44..], self.ephemeral_owner);
        BigEndian::write_i32(&mut b[52..], self.data_length);
        BigEndian::write_i32(&mut b[56..], self.num_children);
        BigEndian::write_i64(&mut b[60..], self.pzxid);
        w.put_slice(&b);
    }
}

/// The stat in a snapshot, 60 bytes.
impl Jute for StatPersisted {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(StatPersisted {
            czxid: r.i64()?,
            mzxid: r.i64()?,
            ctime: r.i64()?,
            mtime: r.i64()?,
            version: r.i32()?,
            cversion: r.i32()?,
            aversion: r.i32()?,
            ephemeral_owner: r.i64()?,
            pzxid: r.i64()?,
        })
    }
    fn write(&self, w: &mut BytesMut) {
        for v in [self.czxid, self.mzxid, self.ctime, self.mtime] {
            w.put_i64(v);
        }
        for v in [self.version, self.cversion, self.aversion] {
            w.put_i32(v);
        }
        w.put_i64(self.ephemeral_owner);
        w.put_i64(self.pzxid);
    }
}
