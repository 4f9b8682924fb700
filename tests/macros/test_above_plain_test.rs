#[runtime::test]
#[ignore]
#[test]
async fn an_answer_arrives() {}

fn main() {}
