//! The way to Redis against real servers: passwords, TLS, Sentinels, and servers that go, hang and come back.

use super::real::Redis;
use super::*;
use crate::lifecycle::Tasks;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server that a busy machine doesn't make look away.
fn patient(url: &str) -> RedisServer {
    let long = Duration::from_secs(3);
    RedisServer::open_with(url, Patience { connection: long, answer: long, visitor: long }).unwrap()
}

async fn ping(server: &RedisServer) -> Result<(), RedisError> {
    let mut connection = server.connection().await?;
    let answer = redis::cmd("PING").exec_async(&mut connection).await;
    if let Err(error) = &answer {
        server.failed(error).await;
    }
    answer
}

fn keep(server: &RedisServer) -> Tasks {
    let (tasks, kept) = (Tasks::default(), server.clone());
    tasks.start_endless("redis", async move { kept.keep_connected().await });
    tasks
}

async fn state(server: &RedisServer, wanted: impl FnMut(&RedisState) -> bool) -> RedisState {
    let mut watch = server.watch();
    *timeout(DEADLINE, watch.wait_for(wanted)).await.expect("in time").expect("the server is there")
}

async fn refused(url: &str) -> String {
    patient(url).first_look().await.expect_err("it refuses").to_string()
}

#[tokio::test]
async fn each_connection_has_a_higher_number_than_the_one_before() {
    let redis = Redis::start();
    let server = patient(&redis.url());
    assert_eq!((server.generation(), *server.watch().borrow()), (0, RedisState::Away));
    ping(&server).await.unwrap();
    assert_eq!(server.generation(), 1);
    redis.kill();
    assert!(ping(&server).await.is_err());
    assert_eq!(server.generation(), 0);
    redis.launch();
    let _tasks = keep(&server);
    assert_eq!(state(&server, |state| *state != RedisState::Away).await, RedisState::Up { generation: 2 });
    ping(&server).await.unwrap();
    server.lost(1, &too_late());
    assert_eq!(server.generation(), 2, "a late failure of an older connection");
}

#[tokio::test]
async fn while_redis_is_away_or_hangs_callers_are_told_at_once_and_it_is_found_again() {
    let redis = Redis::start();
    let server = patient(&redis.url());
    let _tasks = keep(&server);
    state(&server, |state| *state != RedisState::Away).await;
    redis.pause();
    state(&server, |state| *state == RedisState::Away).await;
    let began = Instant::now();
    for _ in 0..1000 {
        assert!(server.connection().await.is_err());
    }
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    redis.resume();
    state(&server, |state| *state == RedisState::Up { generation: 2 }).await;
    ping(&server).await.unwrap();
}

#[tokio::test]
async fn without_a_keeper_one_caller_dials_and_the_others_are_told_at_once_for_a_while() {
    let server = RedisServer::open("redis://127.0.0.1:1").unwrap();
    assert!(server.connection().await.is_err());
    let began = Instant::now();
    assert!(server.connection().await.is_err());
    assert!(began.elapsed() < FIRST_PAUSE, "it was not dialled again");
    assert!(matches!(server.first_look().await, Ok(FirstLook::Away(_))));
}

#[tokio::test]
async fn users_and_passwords_are_given_and_refused_in_words() {
    let redis = Redis::start_with("requirepass secret\nuser app on >p@ss ~* &* +@all\n");
    let at = redis.url().replace("redis://", "");
    for login in ["redis://:secret@", "redis://default:secret@", "redis://app:p%40ss@"] {
        let server = patient(&format!("{login}{at}/1"));
        assert!(matches!(server.first_look().await, Ok(FirstLook::Answers { evicts_everything: None })), "{login}");
        ping(&server).await.unwrap();
    }
    let error = refused(&redis.url()).await;
    assert!(error.contains("it wants a password") && error.contains(&redis.port().to_string()), "{error}");
    let error = refused(&format!("redis://app:wrong@{at}")).await;
    assert!(error.contains("the user or the password is wrong") && !error.contains('\n'), "{error}");
}

#[tokio::test]
async fn a_policy_that_evicts_everything_is_noticed() {
    for (policy, noticed) in [("allkeys-lru", true), ("volatile-lru", false), ("noeviction", false)] {
        let redis = Redis::start_with(&format!("maxmemory 100mb\nmaxmemory-policy {policy}\n"));
        let look = patient(&redis.url()).first_look().await.unwrap();
        let FirstLook::Answers { evicts_everything } = look else { panic!("{look:?}") };
        assert_eq!(evicts_everything.as_deref(), noticed.then_some(policy));
    }
}

#[tokio::test]
async fn tls_is_spoken_to_a_server_whose_certificate_the_given_file_vouches_for_and_to_no_other() {
    let certificate = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name).display().to_string();
    std::fs::write(file("redis.pem"), certificate.cert.pem()).unwrap();
    std::fs::write(file("redis.key"), certificate.signing_key.serialize_pem()).unwrap();
    let redis = Redis::start_with(&format!(
        "tls-port TLS_PORT\ntls-cert-file {}\ntls-key-file {}\ntls-auth-clients no\nrequirepass secret\n",
        file("redis.pem"),
        file("redis.key"),
    ));
    let url = format!("rediss://:secret@127.0.0.1:{}", redis.tls_port());
    let server = patient(&format!("{url}?ca_file={}", file("redis.pem")));
    assert!(matches!(server.first_look().await, Ok(FirstLook::Answers { .. })));
    ping(&server).await.unwrap();
    let error = refused(&url).await;
    assert!(error.contains("TLS failed"), "{error}");
}

#[tokio::test]
async fn after_a_failover_the_sentinels_lead_to_the_new_primary() {
    let primary = Redis::start();
    let replica = primary.replica();
    let sentinel = Redis::sentinel(&primary);
    // The first address is nobody's.
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main", sentinel.port());
    let server = patient(&url);
    let _tasks = keep(&server);
    state(&server, |state| *state != RedisState::Away).await;
    let deadline = Instant::now() + DEADLINE;
    while !sentinel.ask(&["SENTINEL", "replicas", "main"]).contains(&replica.port().to_string()) {
        assert!(Instant::now() < deadline, "the Sentinel doesn't find the replica");
    }
    primary.kill();
    state(&server, |state| *state == RedisState::Away).await;
    state(&server, |state| matches!(state, RedisState::Up { generation } if *generation > 1)).await;
    let mut connection = server.connection().await.unwrap();
    redis::cmd("SET").arg("x").arg("1").exec_async(&mut connection).await.unwrap();
    assert_eq!(replica.ask(&["GET", "x"]), "1");
    let unknown = RedisServer::open(&url.replace("main", "other")).unwrap();
    assert!(unknown.connection().await.is_err());
}
