//! The bytes of a conversation, which both ends can make by themselves, and what they add up to.

/// The bytes that a seed stands for, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    seed: u64,
    place: u64,
    /// Of the bytes so far.
    sum: u64,
}

/// What one end says that it has sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    length: u64,
    sum: u64,
}

impl Content {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            place: 0,
            // The offset of FNV-1a.
            sum: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Makes the next bytes.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer.iter_mut() {
            *byte = byte_at(self.seed, self.place);
            self.place += 1;
        }
        self.add(buffer);
    }

    /// Checks that these are the next bytes.
    ///
    /// # Panics
    ///
    /// When they are not.
    pub(crate) fn check(&mut self, buffer: &[u8]) {
        for &byte in buffer {
            let place = self.place;
            assert_eq!(
                byte,
                byte_at(self.seed, place),
                "the byte at {place} is another"
            );
            self.place += 1;
        }
        self.add(buffer);
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.sum = (self.sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// How many bytes there were.
    pub(crate) fn length(&self) -> u64 {
        self.place
    }

    pub(crate) fn trailer(&self) -> Trailer {
        Trailer {
            length: self.place,
            sum: self.sum,
        }
    }
}

/// The byte at a place: of a word that is mixed from seed and place.
fn byte_at(seed: u64, place: u64) -> u8 {
    let mut word = (seed ^ (place / 8)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word ^= word >> 29;
    let index = usize::try_from(place % 8).unwrap_or_default();
    word.to_le_bytes()[index]
}

impl Trailer {
    pub(crate) const LENGTH: usize = 16;

    pub(crate) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let (length, sum) = bytes.split_at_mut(8);
        length.copy_from_slice(&self.length.to_le_bytes());
        sum.copy_from_slice(&self.sum.to_le_bytes());
        bytes
    }
}
