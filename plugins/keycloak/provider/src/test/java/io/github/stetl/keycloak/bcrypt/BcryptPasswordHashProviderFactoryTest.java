package io.github.stetl.keycloak.bcrypt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ServiceLoader;

import org.junit.jupiter.api.Test;
import org.keycloak.credential.hash.PasswordHashProviderFactory;

class BcryptPasswordHashProviderFactoryTest {

    @Test
    void isFoundByTheServer() {
        var found = ServiceLoader.load(PasswordHashProviderFactory.class).stream()
                .filter(f -> f.type() == BcryptPasswordHashProviderFactory.class).toList();
        assertEquals(1, found.size());
        assertEquals("bcrypt", found.get(0).get().getId());
    }

    @Test
    void neverBecomesTheDefaultHasher() {
        assertTrue(new BcryptPasswordHashProviderFactory().order() <= 0);
    }

    @Test
    void isSupportedWhereBouncyCastleIs() {
        assertTrue(new BcryptPasswordHashProviderFactory().isSupported(null));
    }

    @Test
    void createsTheProvider() {
        assertInstanceOf(BcryptPasswordHashProvider.class, new BcryptPasswordHashProviderFactory().create(null));
    }
}
