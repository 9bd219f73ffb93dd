package io.github.stetl.keycloak.bulk;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.NullSource;
import org.junit.jupiter.params.provider.ValueSource;

class MarkTest {

    private static final String ACCOUNT = "00000000-0000-4000-8000-000000000001";

    @ParameterizedTest
    @CsvSource({ACCOUNT + ",ece34b45-e404-8de1-a710-0fc8cf748150", "ä with a space,ffaaa930-f4ed-8fac-becf-4028c8f5aede"})
    void whatALoadHasMadeTellsSo(String account, String credential) {
        assertTrue(Mark.on(account, credential));
    }

    @ParameterizedTest
    @NullSource
    @ValueSource(strings = {
        "", "x", "ffaaa930-f4ed-8fac-becf-4028c8f5aede", // of another account
        "ece34b45-e404-8de1-a710-0fc8cf748151", "ece34b44-e404-8de1-a710-0fc8cf748150", "ECE34B45-E404-8DE1-A710-0FC8CF748150",
        "ece34b45-e404-4de1-a710-0fc8cf748150", "zce34b45-e404-8de1-a710-0fc8cf748150"
    })
    void whatOthersHaveMadeDoesNot(String credential) {
        assertFalse(Mark.on(ACCOUNT, credential));
    }
}
