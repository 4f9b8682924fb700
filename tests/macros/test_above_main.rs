#[runtime::test]
#[runtime::main]
async fn an_answer_arrives() {}

fn main() {}
