// Threefry-4x32, 20 rounds: crates/formats/src/random.rs line for line.
fn threefry4x32(key: vec4<u32>, counter: vec4<u32>) -> vec4<u32> {
    var rotations = array<vec2<u32>, 8>(
        vec2<u32>(10u, 26u), vec2<u32>(11u, 21u), vec2<u32>(13u, 27u), vec2<u32>(23u, 5u),
        vec2<u32>(6u, 20u), vec2<u32>(17u, 11u), vec2<u32>(25u, 10u), vec2<u32>(18u, 20u),
    );
    var keys = array<u32, 5>(
        key.x, key.y, key.z, key.w, 0x1BD11BDAu ^ key.x ^ key.y ^ key.z ^ key.w,
    );
    var x = counter + key;
    for (var round = 0u; round < 20u; round++) {
        let by = rotations[round % 8u];
        let odd = round % 2u == 1u;
        // Even rounds pair (0,1),(2,3); odd rounds (0,3),(2,1).
        let b = select(x.y, x.w, odd);
        let d = select(x.w, x.y, odd);
        let x0 = x.x + b;
        let x2 = x.z + d;
        let mixed_b = ((b << by.x) | (b >> (32u - by.x))) ^ x0;
        let mixed_d = ((d << by.y) | (d >> (32u - by.y))) ^ x2;
        x = vec4<u32>(x0, select(mixed_b, mixed_d, odd), x2, select(mixed_d, mixed_b, odd));
        if round % 4u == 3u {
            let injection = round / 4u + 1u;
            x += vec4<u32>(
                keys[injection % 5u],
                keys[(injection + 1u) % 5u],
                keys[(injection + 2u) % 5u],
                keys[(injection + 3u) % 5u] + injection,
            );
        }
    }
    return x;
}
