//! Gossipsub's messages by hand: protocol buffers with whatever numbers one likes.
//! (github.com/libp2p/specs, pubsub/gossipsub)

/// The protocol that an attacker names; nodes speak this version and newer ones.
pub const PROTOCOL: &str = "/meshsub/1.1.0";

/// A number as protocol buffers write it: seven bits a byte, the lowest first.
#[must_use]
pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = (number & 0x7f).to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A field that holds bytes, or a message.
///
/// # Panics
/// Never: a length fits into 64 bits.
#[must_use]
pub fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let length = u64::try_from(value.len()).expect("a length fits into 64 bits");
    [&varint(field << 3 | 2)[..], &varint(length)[..], value].concat()
}

/// What goes over the stream: the message after its length.
///
/// # Panics
/// Never: a length fits into 64 bits.
#[must_use]
pub fn message(body: &[u8]) -> Vec<u8> {
    let length = u64::try_from(body.len()).expect("a length fits into 64 bits");
    [varint(length), body.to_vec()].concat()
}

/// Says that one listens to a topic, or no longer does.
#[must_use]
pub fn subscription(topic: &str, listens: bool) -> Vec<u8> {
    bytes(1, &[number(1, u64::from(listens)), bytes(2, topic.as_bytes())].concat())
}

/// A gossiped message on a topic, anonymous as Cairn's are.
#[must_use]
pub fn publication(topic: &str, data: &[u8]) -> Vec<u8> {
    bytes(2, &[bytes(2, data), bytes(4, topic.as_bytes())].concat())
}

/// The same, with a sender, a number and a signature that no honest node sends.
#[must_use]
pub fn signed_publication(topic: &str, data: &[u8], sender: &[u8], signature: &[u8]) -> Vec<u8> {
    let fields = [
        bytes(1, sender),
        bytes(2, data),
        bytes(3, &[0; 8]),
        bytes(4, topic.as_bytes()),
        bytes(5, signature),
    ];
    bytes(2, &fields.concat())
}

/// The control part of a message.
#[must_use]
pub fn control(parts: &[Vec<u8>]) -> Vec<u8> {
    bytes(3, &parts.concat())
}

/// "I have messages with these ids."
#[must_use]
pub fn ihave(topic: &str, ids: &[[u8; 32]]) -> Vec<u8> {
    let list: Vec<u8> = ids.iter().flat_map(|id| bytes(2, id)).collect();
    bytes(1, &[bytes(1, topic.as_bytes()), list].concat())
}

/// "I want the messages with these ids."
#[must_use]
pub fn iwant(ids: &[[u8; 32]]) -> Vec<u8> {
    bytes(2, &ids.iter().flat_map(|id| bytes(1, id)).collect::<Vec<u8>>())
}

/// "Let me into your mesh of this topic."
#[must_use]
pub fn graft(topic: &str) -> Vec<u8> {
    bytes(3, &bytes(1, topic.as_bytes()))
}

/// "I leave your mesh, and do not come back for so many seconds."
#[must_use]
pub fn prune(topic: &str, backoff_secs: u64) -> Vec<u8> {
    bytes(4, &[bytes(1, topic.as_bytes()), number(3, backoff_secs)].concat())
}

/// "Do not send me the messages with these ids."
#[must_use]
pub fn idontwant(ids: &[[u8; 32]]) -> Vec<u8> {
    bytes(5, &ids.iter().flat_map(|id| bytes(1, id)).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_fields_are_those_of_the_specification() {
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(300), [0xac, 0x02]);
        assert_eq!(varint(u64::MAX).len(), 10);
        assert_eq!(subscription("t", true), [0x0a, 5, 0x08, 1, 0x12, 1, b't']);
        assert_eq!(control(&[graft("t")]), [0x1a, 5, 0x1a, 3, 0x0a, 1, b't']);
    }
}
