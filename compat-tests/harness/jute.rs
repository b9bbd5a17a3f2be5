//! The wire encoding, written a second time on purpose (see the module above).

/// Writes values big-endian into a growing buffer.
#[derive(Default, Clone)]
pub struct Writer {
    /// What was written.
    pub bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Writer {
        Writer::default()
    }
    /// One byte.
    pub fn byte(&mut self, v: u8) -> &mut Writer {
        self.bytes.push(v);
        self
    }
    /// A boolean as one byte.
    pub fn bool(&mut self, v: bool) -> &mut Writer {
        self.byte(v as u8)
    }
    /// Four bytes.
    pub fn int(&mut self, v: i32) -> &mut Writer {
        self.bytes.extend_from_slice(&v.to_be_bytes());
        self
    }
    /// Eight bytes.
    pub fn long(&mut self, v: i64) -> &mut Writer {
        self.bytes.extend_from_slice(&v.to_be_bytes());
        self
    }
    /// A string or buffer; `None` is length -1.
    pub fn buffer(&mut self, v: Option<&[u8]>) -> &mut Writer {
        match v {
            None => self.int(-1),
            Some(v) => {
                self.int(v.len() as i32);
                self.bytes.extend_from_slice(v);
                self
            }
        }
    }
    /// A string.
    pub fn string(&mut self, v: &str) -> &mut Writer {
        self.buffer(Some(v.as_bytes()))
    }
    /// Bytes as they are.
    pub fn raw(&mut self, v: &[u8]) -> &mut Writer {
        self.bytes.extend_from_slice(v);
        self
    }
}

/// The bytes ended early or a length made no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short;

/// Reads values off the front of a slice.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }
    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Short> {
        if self.rest.len() < n {
            return Err(Short);
        }
        let (head, tail) = self.rest.split_at(n);
        self.rest = tail;
        Ok(head)
    }
    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Short> {
        Ok(self.take(1)?[0])
    }
    /// Four bytes.
    pub fn int(&mut self) -> Result<i32, Short> {
        let b = self.take(4)?;
        Ok(i32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }
    /// Eight bytes.
    pub fn long(&mut self) -> Result<i64, Short> {
        let hi = self.int()? as i64;
        let lo = self.int()? as u32 as i64;
        Ok((hi << 32) | lo)
    }
    /// A string or buffer; length -1 is `None`.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, Short> {
        match self.int()? {
            -1 => Ok(None),
            n if n < 0 => Err(Short),
            n => self.take(n as usize).map(Some),
        }
    }
    /// A list of strings; count -1 is `None`.
    pub fn strings(&mut self) -> Result<Option<Vec<Vec<u8>>>, Short> {
        let n = self.int()?;
        if n == -1 {
            return Ok(None);
        }
        let mut all = Vec::new();
        for _ in 0..n {
            all.push(self.buffer()?.unwrap_or(b"~").to_vec());
        }
        Ok(Some(all))
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes of a hexadecimal text; blanks are skipped.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if digits.len() % 2 != 0 {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok()))
        .collect()
}
