//! BOLT 8's published vectors, and an initiator for the tests of peers.

use bitcoin::hex::FromHex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// BOLT 8, appendix A: the keys of its responder tests, and the initiator's first act.
const STATIC: [u8; 32] = [0x21; 32];
const EPHEMERAL: [u8; 32] = [0x22; 32];
const ACT_ONE_HEX: &str =
    "00036360e856310ce5d294e8be33fc807077dc56ac80d95d9cd4ddbd21325eff73f70df6086551151f58b8afe6c195782c6a";
const ACT_TWO_HEX: &str =
    "0002466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f276e2470b93aac583c9ef6eafca3f730ae";
const ACT_THREE_HEX: &str = "00b9e3a702e93e3a9948c2ed6e5fd7590a6e1c3a0344cfc9d5b57357049aa22355361aa02e55a8fc28fef5bd6d71\
    ad0c38228dc68b1c466263b47fdf31e560e139ba";

/// What a client does: connects to `node` as `secret` and is ready to talk.
pub(in crate::synth) async fn initiate(
    stream: &mut tokio::net::TcpStream,
    secret: SecretKey,
    ephemeral: SecretKey,
    node: PublicKey,
) -> anyhow::Result<(Sealer, Opener)> {
    let mut state = Responder::new(secret).state;
    let name = sha256::Hash::hash(b"Noise_XK_secp256k1_ChaChaPoly_SHA256").to_byte_array();
    (state.hash, state.chaining) = (name, name);
    state.mix(b"lightning");
    state.mix(&node.serialize());

    let ours = keys::public(&ephemeral).serialize();
    state.mix(&ours);
    let key = state.agree(&node, &ephemeral);
    stream.write_all(&[&[0], &ours[..], &state.seal_nothing(&key)].concat()).await?;

    let mut act_two = [0; ACT_TWO];
    stream.read_exact(&mut act_two).await?;
    let theirs = public(&act_two[1..34])?;
    state.mix(&theirs.serialize());
    let key = state.agree(&theirs, &ephemeral);
    state.open(&key, 0, &act_two[34..])?;

    let mut sealed = keys::public(&secret).serialize().to_vec();
    let tag = cipher(&key).encrypt_in_place_detached(&nonce(1), &state.hash, &mut sealed).expect("33 bytes");
    sealed.extend(tag);
    state.mix(&sealed);
    let key = state.agree(&theirs, &secret);
    stream.write_all(&[&[0], &sealed[..], &state.seal_nothing(&key)].concat()).await?;

    let [sending, receiving] = expand(&state.chaining, &[]);
    let way = |key| Way { key, chaining: state.chaining, used: 0 };
    Ok((Sealer(way(sending)), Opener(way(receiving))))
}

fn act<const N: usize>(hex: &str) -> [u8; N] {
    Vec::from_hex(hex).unwrap().try_into().unwrap()
}

fn answered() -> AwaitingActThree {
    let (act_two, responder) = responder().act_two(&act(ACT_ONE_HEX), key(EPHEMERAL)).unwrap();
    assert_eq!(act_two, act(ACT_TWO_HEX));
    responder
}

fn responder() -> Responder {
    Responder::new(key(STATIC))
}

fn key(bytes: [u8; 32]) -> SecretKey {
    SecretKey::from_slice(&bytes).unwrap()
}

/// The act with this byte changed.
fn spoiled<const N: usize>(hex: &str, at: usize, byte: u8) -> [u8; N] {
    let mut spoiled: [u8; N] = act(hex);
    spoiled[at] = byte;
    spoiled
}

#[test]
fn responder_shakes_hands_as_published() {
    let transport = answered().finish(&act(ACT_THREE_HEX)).unwrap();
    assert_eq!(transport.remote.to_string(), "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa");
    let hex = |hex| act::<32>(hex);
    let chaining = hex("919219dbb2920afa8db80f9a51787a840bcf111ed8d588caf9ab4be716e42b01");
    assert_eq!(transport.opener.0.key, hex("969ab31b4d288cedf6218839b27a3e2140827047f2c0f01bf5c04435d43511a9"));
    assert_eq!(transport.sealer.0.key, hex("bb9020b8965f4df047e07f955f3c4b88418984aadc5cdb35096b9ea8fa5c3442"));
    assert_eq!([transport.opener.0.chaining, transport.sealer.0.chaining], [chaining; 2]);
}

#[test]
fn bad_acts_are_refused_as_published() {
    let first = |act_one| responder().act_two(&act_one, key(EPHEMERAL)).err();
    assert_eq!(first(spoiled(ACT_ONE_HEX, 0, 1)), Some(NoiseError::Version(1)));
    assert_eq!(first(spoiled(ACT_ONE_HEX, 1, 4)), Some(NoiseError::Key));
    assert_eq!(first(spoiled(ACT_ONE_HEX, 49, 0x6b)), Some(NoiseError::Seal));

    let third = |act_three| answered().finish(&act_three).err();
    assert_eq!(third(spoiled(ACT_THREE_HEX, 0, 1)), Some(NoiseError::Version(1)));
    assert_eq!(third(spoiled(ACT_THREE_HEX, 1, 0xc9)), Some(NoiseError::Seal));
    assert_eq!(third(spoiled(ACT_THREE_HEX, 65, 0xbb)), Some(NoiseError::Seal));
    let bad_key = "00bfe3a702e93e3a9948c2ed6e5fd7590a6e1c3a0344cfc9d5b57357049aa2235536ad09a8ee351870c2bb7f78b754a26c6cef\
        79a98d25139c856d7efd252c2ae73c";
    assert_eq!(third(act(bad_key)), Some(NoiseError::Key));
}

#[test]
fn messages_are_sealed_and_opened_as_published_across_key_rotations() {
    let published = [
        (0, "cf2b30ddf0cf3f80e7c35a6e6730b59fe802473180f396d88a8fb0db8cbcf25d2f214cf9ea1d95"),
        (1, "72887022101f0b6753e0c7de21657d35a4cb2a1f5cde2650528bbc8f837d0f0d7ad833b1a256a1"),
        (500, "178cb9d7387190fa34db9c2d50027d21793c9bc2d40b1e14dcf30ebeeeb220f48364f7a4c68bf8"),
        (501, "1b186c57d44eb6de4c057c49940d79bb838a145cb528d6e8fd26dbe50a60ca2c104b56b60e45bd"),
        (1000, "4a2f3cc3b5e78ddb83dcb426d9863d9d9a723b0337c89dd0b005d89f8d3c05c52b76b29b740f09"),
        (1001, "2ecd8c8a5629d0d02ab457a0fdd0f7b90a192cd46be5ecb6ca570bfc5e268338b1a16cf4ef2d36"),
    ];
    let mut transport = answered().finish(&act(ACT_THREE_HEX)).unwrap();
    // The vectors are the initiator's messages: what it seals, the responder opens.
    let Way { key, chaining, used } = transport.opener.0;
    let mut initiator = Sealer(Way { key, chaining, used });
    transport.opener = Opener(Way { key, chaining, used });
    for i in 0..=1001 {
        let mut frame = Vec::new();
        initiator.seal(b"hello", &mut frame);
        if let Some((_, hex)) = published.iter().find(|&&(at, _)| at == i) {
            assert_eq!(frame, Vec::from_hex(hex).unwrap(), "message {i}");
        }
        let length = transport.opener.length(*frame.first_chunk().unwrap()).unwrap();
        assert_eq!(length, 5);
        assert_eq!(transport.opener.message(&mut frame[LENGTH..]).unwrap(), b"hello");
    }
    assert_eq!(transport.opener.message(&mut [0; 40]), Err(NoiseError::Seal));
    assert_eq!(transport.opener.message(&mut [0; 3]), Err(NoiseError::Seal));
}
