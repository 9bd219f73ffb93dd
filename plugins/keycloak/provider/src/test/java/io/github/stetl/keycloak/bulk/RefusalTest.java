package io.github.stetl.keycloak.bulk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.sql.SQLException;
import java.sql.SQLTransientConnectionException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.keycloak.models.ModelDuplicateException;

class RefusalTest {

    private static Exception sql(String state) {
        return new IllegalStateException(new IllegalStateException("row (secret)", new SQLException("row (secret)", state)));
    }

    private static void assertRefused(int status, String error, Throwable failure) {
        Outcome outcome = Refusal.of(failure);
        assertEquals(status, outcome.status);
        assertEquals(error, outcome.error);
    }

    @Test
    void theServersOwnWordsAreKept() {
        String words = "Device already exists with the same name";
        assertRefused(409, words, new ModelDuplicateException(words));
        words = "Unable to find group specified by path: /x";
        assertRefused(500, words, new RuntimeException(words));
        assertRefused(500, "java.lang.NullPointerException", new NullPointerException());
    }

    @ParameterizedTest
    @ValueSource(strings = {"22001", "23505", "22021", "99999", "7"})
    void aRefusedRowIsTheUsersFaultAndIsNotRepeated(String state) {
        assertFalse(Refusal.trouble(sql(state)));
        assertFalse(Refusal.of(sql(state)).error.contains("secret"));
        assertRefused(409, "Duplicate resource error", new ModelDuplicateException("row (secret)", sql(state)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"08006", "40001", "40P01", "53300", "57P01", "58030", "HYT00"})
    void aDatabaseInTroubleIsNobodysFault(String state) {
        assertTrue(Refusal.trouble(sql(state)));
    }

    @Test
    void soIsALostConnectionWithoutAState() {
        assertTrue(Refusal.trouble(new IllegalStateException(new SQLTransientConnectionException("pool is empty"))));
    }
}
