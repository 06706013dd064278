import pytest

from codequarry.data.catalog.datasets.interviews import read_interviews

ANSWER = "Because it is written in a way that takes more than sixty characters to say."


@pytest.mark.parametrize(
    ("path", "page", "question", "answer"),
    [
        (
            "FAQGURU/FAQGURU/topics/en/java.md",
            f"## Java\n\n### What is Java good for?\n\n{ANSWER}\n\n###### Source\n- x\n",
            "What is Java good for?",
            ANSWER,
        ),
        (
            "sudheerj/reactjs-interview-questions/README.md",
            f"1.  ### What is React?\n\n    {ANSWER}\n\n    ```js\n    x\n    ```\n\n"
            "    **[\u2b06 Back to Top](#x)**\n",
            "What is React?",
            f"{ANSWER}\n\n```js\nx\n```",
        ),
        (
            "trimstray/test-your-sysadmin-skills/README.md",
            f"<details>\n<summary><b>How to list ports?</b></summary><br>\n\n{ANSWER}\n\n</details>\n",
            "How to list ports?",
            ANSWER,
        ),
        (
            "lydiahallie/javascript-questions/README.md",
            "###### 1. What's the output?\n\n```javascript\nsayHi();\n```\n\n- A: `a`\n\n"
            "<details><summary><b>Answer</b></summary>\n<p>\n\n#### Answer: D\n\n"
            f"{ANSWER}\n\n</p>\n</details>\n",
            "What's the output? ```javascript sayHi(); ``` - A: `a`",
            f"#### Answer: D\n\n{ANSWER}",
        ),
        (
            "yangshun/front-end-interview-handbook/packages/quiz/questions/x/en-US.mdx",
            f"---\ntitle: What is progressive rendering?\n---\n\n{ANSWER}\n",
            "What is progressive rendering?",
            ANSWER,
        ),
    ],
)
def test_each_list_is_read_in_its_own_layout(path, page, question, answer):
    (pair,) = read_interviews([(path, page.encode())])
    assert (pair.query, pair.document) == (question, answer)


def test_a_short_answer_is_left_out():
    page = b"## Java\n\n### What is Java good for?\n\nMuch.\n"
    assert list(read_interviews([("FAQGURU/FAQGURU/topics/en/java.md", page)])) == []
