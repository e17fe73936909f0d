use serde_json::json;

use super::*;

fn none() -> Map<String, Json> {
    Map::new()
}

fn of(template: &str) -> Result<ChatTemplate> {
    let template = ChatTemplate::from_files(Some(template.as_bytes()), None, None, "m")?;
    Ok(template.expect("a template"))
}

fn rendered(template: &str) -> Result<String> {
    of(template)?.render(&[json!({"role": "user", "content": "Hi"})], None, false, &none())
}

/// The template in the two files.
fn from(config: &Json, map: Option<&Json>) -> Result<Option<ChatTemplate>> {
    let map = map.map(Json::to_string);
    let config = config.to_string();
    ChatTemplate::from_files(None, Some(config.as_bytes()), map.as_ref().map(|m| m.as_bytes()), "m")
}

fn shown(template: &ChatTemplate, tools: Option<&Json>) -> String {
    let messages = [json!({"role": "user", "content": "Hi"})];
    template.render(&messages, tools, true, &none()).unwrap()
}

#[test]
fn a_template_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<ChatTemplate>();
}

#[test]
fn the_newest_layout_wins_and_a_list_has_one_for_tools() {
    let config = json!({"chat_template": "old"});
    let both =
        ChatTemplate::from_files(Some(b"new"), Some(config.to_string().as_bytes()), None, "m");
    assert_eq!(shown(&both.unwrap().unwrap(), None), "new");
    assert_eq!(shown(&from(&config, None).unwrap().unwrap(), None), "old");

    let list = json!({"chat_template": [
        {"name": "rag", "template": "r"},
        {"name": "tool_use", "template": "t{{ tools | length }}"},
        {"name": "default", "template": "d"}]});
    let template = from(&list, None).unwrap().unwrap();
    assert_eq!(shown(&template, None), "d");
    assert_eq!(shown(&template, Some(&json!([{}, {}]))), "t2");

    let list = json!({"chat_template": [{"name": "tool_use", "template": "t"}]});
    let template = from(&list, None).unwrap().unwrap();
    assert_eq!(shown(&template, Some(&json!([]))), "t");
    let message = json!({"role": "user"});
    let error = template.render(&[message], None, true, &none()).unwrap_err();
    assert!(error.what.contains("only [\"tool_use\"]"), "{error}");
}

#[test]
fn a_folder_without_a_template_has_none() {
    assert!(ChatTemplate::from_files(None, None, None, "m").unwrap().is_none());
    for config in [json!({}), json!({"chat_template": null}), json!({"chat_template": []})] {
        assert!(from(&config, None).unwrap().is_none(), "{config}");
    }
}

#[test]
fn special_tokens_are_strings_or_objects_and_the_older_file_adds_to_them() {
    let source = "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ image_token }}{{ sep_token }}";
    let config = json!({"chat_template": source, "add_bos_token": true, "bos_token": "<b>",
        "eos_token": {"content": "<e>"}, "pad_token": null, "sep_token": 5,
        "extra_special_tokens": {"image_token": "<i>"}});
    let map = json!({"bos_token": "<B>", "pad_token": {"content": "<p>"}});
    assert_eq!(shown(&from(&config, None).unwrap().unwrap(), None), "<b><e><i>");
    assert_eq!(shown(&from(&config, Some(&map)).unwrap().unwrap(), None), "<B><e><p><i>");
    let mut newer = config;
    newer["added_tokens_decoder"] = json!({});
    assert_eq!(shown(&from(&newer, Some(&map)).unwrap().unwrap(), None), "<b><e><i>");
}

#[test]
fn malformed_files_are_errors_with_their_place() {
    let deep = "[".repeat(100_000);
    for (jinja, config, map, place) in [
        (None, Some("{"), None, "m/tokenizer_config.json"),
        (None, Some("[]"), None, "m/tokenizer_config.json"),
        (None, Some(&*deep), None, "m/tokenizer_config.json"),
        (None, Some("{}"), Some("\"\""), "m/special_tokens_map.json"),
        (None, Some(r#"{"chat_template": 5}"#), None, "m/tokenizer_config.json: chat_template"),
        (None, Some(r#"{"chat_template": ["a"]}"#), None, "m/tokenizer_config.json: chat_template"),
        (
            None,
            Some(r#"{"chat_template": [{"name": "default"}]}"#),
            None,
            "m/tokenizer_config.json: chat_template",
        ),
        (
            None,
            Some(r#"{"chat_template": [{"name": "x", "template": "\n{{"}]}"#),
            None,
            "m/tokenizer_config.json: chat_template \"x\":2",
        ),
        (Some(&b"\xff"[..]), None, None, "m/chat_template.jinja"),
        (Some(b"a\r\nb\n{% if %}"), None, None, "m/chat_template.jinja:3"),
        (Some(&[b' '; MAX_TEMPLATE_BYTES + 1]), None, None, "m/chat_template.jinja"),
    ] {
        let error =
            ChatTemplate::from_files(jinja, config.map(str::as_bytes), map.map(str::as_bytes), "m");
        let error = error.unwrap_err();
        assert_eq!(error.place.as_deref(), Some(place), "{error}");
        assert!(error.next.is_some(), "{error}");
    }
}

#[test]
fn what_is_unknown_is_named_with_its_line() {
    for (template, named) in [
        ("\n{{ 'a'|sparkle }}", "filter sparkle is unknown"),
        ("\n{{ 'a' is sparkly }}", "test sparkly is unknown"),
        ("\n{{ 'a'.sparkle() }}", "string has no method named sparkle"),
        ("\n{{ messages.append(1) }}", "sequence has no method named append"),
        ("\n{{ sparkle() }}", "sparkle is unknown"),
        ("\n{{ messages[0].name.first }}", "`messages[0].name` is undefined"),
        ("{% macro f(m) %}\n{{ m.a.b }}{% endmacro %}{{ f({}) }}", "`m.a` is undefined"),
        ("\n{{ strftime_now('%Q') }}", "strftime_now doesn't know %Q"),
        ("\n{% include 'a' %}", "unknown statement include"),
    ] {
        let error = rendered(template).unwrap_err();
        assert!(error.what.contains(named), "{template}: {error}");
        assert_eq!(error.place.as_deref(), Some("m/chat_template.jinja:2"), "{template}: {error}");
    }
}

#[test]
fn a_template_refuses_in_its_own_words() {
    for (template, words) in [
        ("\n{{ raise_exception('Roles must alternate: é') }}", "Roles must alternate: é"),
        ("\n{% macro f() %}{{ raise_exception('in ' ~ 1.5) }}{% endmacro %}{{ f() }}", "in 1.5"),
        (
            "\n{% set x %}{{ raise_exception() if false else raise_exception(1.5) }}{% endset %}",
            "1.5",
        ),
    ] {
        let error = rendered(template).unwrap_err();
        assert_eq!(error.what, words);
        assert_eq!(error.place.as_deref(), Some("m/chat_template.jinja:2"));
    }
}

#[test]
fn the_clock_can_be_held() {
    let template = "{{ strftime_now('%d %b %Y') }}";
    let held = of(template).unwrap().at_time(1_721_952_000);
    assert_eq!(shown(&held, None), "26 Jul 2024");
    assert_eq!(rendered(template).unwrap().len(), "26 Jul 2024".len());
    let year: u32 = rendered("{{ strftime_now('%Y') }}").unwrap().parse().unwrap();
    assert!(year >= 2025, "{year}");
}

#[test]
fn a_conversation_must_have_messages_with_roles_and_tools_in_a_list() {
    let template = of("{{ messages|tojson }}").unwrap();
    let refused = |messages: &[Json], tools: Option<&Json>| {
        template.render(messages, tools, false, &none()).unwrap_err().what
    };
    let good = json!({"role": "user"});
    assert!(refused(&[], None).contains("without messages"));
    for bad in [json!(null), json!("Hi"), json!([]), json!({}), json!({"role": 5})] {
        let what = refused(&[good.clone(), bad], None);
        assert!(what.contains("message 1 is not an object"), "{what}");
    }
    for bad in [json!(null), json!({}), json!("x"), json!(["x"]), json!([{}, 1])] {
        assert!(
            refused(std::slice::from_ref(&good), Some(&bad)).contains("tools must be a list"),
            "{bad}"
        );
    }
}

#[test]
fn messages_are_handed_over_as_transformers_does() {
    let template = of("{{ messages[0]|tojson }}").unwrap();
    for (message, seen) in [
        (json!({"role": "a", "z": 1, "content": null}), r#"{"role": "a", "z": 1}"#),
        (
            json!({"role": "a", "reasoning": "r", "z": 1}),
            concat!(
                r#"{"thinking": "r", "role": "a", "reasoning": "r", "z": 1, "#,
                r#""reasoning_content": "r"}"#
            ),
        ),
        (
            json!({"role": "a", "reasoning_content": null, "thinking": "t", "reasoning": "r"}),
            r#"{"thinking": "t", "role": "a", "reasoning": "r", "reasoning_content": "t"}"#,
        ),
    ] {
        assert_eq!(template.render(&[message], None, false, &none()).unwrap(), seen);
    }
}

#[test]
fn variables_of_the_call_stand_above_special_tokens_and_below_the_conversation() {
    let config =
        json!({"chat_template": "{{ bos_token }}{{ messages|length }}{{ n }}", "bos_token": "b"});
    let template = from(&config, None).unwrap().unwrap();
    let extra = json!({"bos_token": "own", "messages": "mine", "n": 1.0});
    let messages = [json!({"role": "user"})];
    let text = template.render(&messages, None, false, extra.as_object().unwrap()).unwrap();
    assert_eq!(text, "own11.0");
}

#[test]
fn only_whole_generation_tags_are_replaced() {
    let from = "{% with %}{{ srft_from }}{% set srft = 0 ";
    let to = "{% endwith %}{{ srft_to }}{% set srft = 0 ";
    for (template, text) in [
        ("{% generation %}a{% endgeneration %}", &*format!("{from}%}}a{to}%}}")),
        (
            "{%-generation-%}a{%+ endgeneration +%}",
            &*format!("{from}-%}}a{to}+%}}")
                .replace("{% with", "{%-with")
                .replace("{% end", "{%+ end"),
        ),
        ("{%- \n generation %}", &*format!("{from}%}}").replace("{% with", "{%- \n with")),
        ("{% generations %}{% set generation = 1 %}", "{% generations %}{% set generation = 1 %}"),
        ("{% generation x %}{{ generation }}{%", "{% generation x %}{{ generation }}{%"),
        ("{%{% generation %}é{%", &*format!("{{%{from}%}}é{{%")),
    ] {
        assert_eq!(with_marks(template), text);
    }
}

/// A template that applies `step` to `s.x` a number of times.
fn repeated(start: &str, step: &str, times: usize) -> String {
    format!(
        "{{% set s = namespace(x={start}) %}}{{% for i in range({times}) %}}\
         {{% for j in range(10) %}}{{% set s.x = {step} %}}{{% endfor %}}{{% endfor %}}"
    )
}

#[test]
fn what_a_template_may_do_is_bounded() {
    let steps = "more than 200000 steps";
    let recursion = "recursion";
    for (template, reason) in [
        (repeated("0", "s.x + 1", 100_000), steps),
        (repeated("[]", "s.x + [1]", 100_000), steps),
        (repeated("'ab'", "s.x ~ s.x", 9), steps),
        (repeated("'ab'", "s.x.replace('a', s.x)", 9), steps),
        (repeated("'ab'", "s.x.join(s.x)", 9), steps),
        (repeated("[]", "[s.x, s.x]", 9) + "{{ s.x }}", steps),
        (repeated("[]", "[s.x, s.x]", 9) + "{{ s.x|tojson }}", steps),
        ("{{ 'a' * 1000000000000 }}".into(), steps),
        ("{{ ','.join(['a' * 100000] * 10000) }}".into(), steps),
        ("{{ ('{0}' * 10000).format('a' * 100000) }}".into(), steps),
        ("{{ '{:1000000000}'.format(1) }}".into(), steps),
        ("{{ '%1000000000d'|format(1) }}".into(), steps),
        ("{{ ('b' * 100000).strip('a' * 100000 ~ 'b') }}".into(), steps),
        ("{{ ([1] * 100)|tojson(separators=['a' * 1000000, '']) }}".into(), steps),
        ("{{ [1]|tojson(indent=1000000000000) }}".into(), steps),
        ("{{ 'a\nb'|indent(1000000000000) }}".into(), steps),
        ("{% set l = [1] * 9999 %}{% for i in l %}{{ l.count(2) }}{% endfor %}".into(), steps),
        ("{{ range(1000000000000)|list }}".into(), "too many elements"),
        ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}".into(), recursion),
        ("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}".into(), recursion),
        ("{% if 1 %}".repeat(1000), recursion),
        (format!("{{{{ {}1 }}}}", "(".repeat(1000)), recursion),
    ] {
        let name = &template[..template.len().min(160)];
        let error = rendered(&template).err().unwrap_or_else(|| panic!("{name} rendered"));
        assert!(error.what.contains(reason), "{name}: {error}");
    }
}

#[test]
fn what_a_template_nests_fits_the_stack() {
    // Two chains of 36,000 lists each, which take as much fuel as one twice as deep.
    let nested = "{% set s = namespace(x=[], y=[]) %}{% for i in range(6000) %}\
                  {% set s.x = [[[[[[s.x]]]]]] %}{% set s.y = [[[[[[s.y]]]]]] %}{% endfor %}";
    for (end, text) in [
        ("{{ (s.x ~ '')|length }}", Some("72002")),
        ("{{ s.x == s.y }}", Some("True")),
        ("{{ [s.x, s.y]|sort|length }}", Some("2")),
        ("{{ s.x in [s.y] }}", Some("True")),
        ("{{ s.x }}", None),
        ("{{ s.x|string }}", None),
        ("{{ s.x|tojson }}", None),
    ] {
        match (rendered(&format!("{nested}{end}")), text) {
            (Ok(actual), Some(text)) => assert_eq!(actual, text, "{end}"),
            (Err(error), None) => {
                assert!(error.what.contains("nested too deeply"), "{end}: {error}")
            }
            (outcome, _) => panic!("{end}: {outcome:?}"),
        }
    }
    for (start, link, end, text) in [
        ("{{ 1", "|d", " }}", "1"),
        ("{{ 1", "+1", " }}", "30001"),
        ("{{ ", "- ", "1 }}", "1"),
        ("{% if 0 %}", "{%elif 0%}", "{% else %}x{% endif %}", "x"),
    ] {
        let links = link.repeat(60_000 / link.len());
        assert_eq!(rendered(&format!("{start}{links}{end}")).unwrap(), text, "{link}");
    }
}

#[test]
fn a_message_nested_beyond_reading_is_an_error() {
    let deep = (0..1500).fold(Json::Null, |inner, _| Json::Array(vec![inner]));
    let message = [json!({"role": "user", "content": deep})];
    for template in ["{{ messages|tojson }}", "{{ messages }}"] {
        let error = of(template).unwrap().render(&message, None, false, &none()).unwrap_err();
        assert!(error.what.contains("nested too deeply"), "{error}");
    }
}

/// Marks don't change what is printed, however white space is trimmed around them.
#[test]
fn generation_blocks_mark_what_the_assistant_says() {
    let head = "{% for m in messages %}\n<{{ m.role }}>";
    for (block, text, marked) in [
        (
            "{% generation %}{{ m.content }}$\n{% endgeneration %}\n",
            "<user>A\n<assistant>é$\n",
            "é$\n",
        ),
        (
            "  {%- generation -%}  {{ m.content }}$  {%- endgeneration -%}  ",
            "<user>A\n<assistant>é$",
            "é$",
        ),
        ("{% generation %}{% endgeneration %}{{ m.content }}", "<user>A\n<assistant>é", ""),
    ] {
        let user = "{% if m.role == 'user' %}{{ m.content }}\n{% else %}";
        let jinja = format!("{head}{user}{block}{{% endif %}}{{% endfor %}}");
        let template = of(&jinja).unwrap();
        let messages =
            [json!({"role": "user", "content": "A"}), json!({"role": "assistant", "content": "é"})];
        let (printed, ranges) = template.render_marked(&messages, None, &none()).unwrap();
        let plain = template.render(&messages, None, false, &none()).unwrap();
        assert_eq!((&*printed, &*plain), (text, text), "{jinja}");
        let found: Vec<&str> = ranges.into_iter().map(|range| &printed[range]).collect();
        assert_eq!(found.concat(), marked, "{jinja}");
    }
}

/// A thread per rendering took longer than the rendering.
#[test]
fn renderings_share_their_threads() {
    let id = || Ok(std::thread::current().id());
    let ids: std::collections::HashSet<_> = (0..200).map(|_| on_deep_stack(id).unwrap()).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(ids.len() <= cores.max(rayon::current_num_threads()), "{} threads", ids.len());
    let nested = on_deep_stack(|| Ok((id()?, on_deep_stack(id)?))).unwrap();
    assert_eq!(nested.0, nested.1);
}
