package io.github.stetl.keycloak.bcrypt;

import java.util.Map;

import org.keycloak.Config;
import org.keycloak.credential.hash.PasswordHashProvider;
import org.keycloak.credential.hash.PasswordHashProviderFactory;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakSessionFactory;
import org.keycloak.provider.EnvironmentDependentProviderFactory;
import org.keycloak.provider.ServerInfoAwareProviderFactory;

/** Registers bcrypt under the id that {@code credentialData.algorithm} names. */
public final class BcryptPasswordHashProviderFactory
        implements PasswordHashProviderFactory, EnvironmentDependentProviderFactory, ServerInfoAwareProviderFactory {

    public static final String ID = "bcrypt";

    private final PasswordHashProvider provider = new BcryptPasswordHashProvider();

    @Override
    public String getId() {
        return ID;
    }

    /** Not above 0: the factory with the highest order is the server's default hasher, and argon2 has to stay that. */
    @Override
    public int order() {
        return 0;
    }

    @Override
    public PasswordHashProvider create(KeycloakSession session) {
        return provider;
    }

    /** A server in FIPS mode lacks the class; better not to be listed there than to fail at each login. */
    @Override
    public boolean isSupported(Config.Scope config) {
        try {
            Class.forName("org.bouncycastle.crypto.generators.OpenBSDBCrypt", false, getClass().getClassLoader());
            return true;
        } catch (ClassNotFoundException e) {
            return false;
        }
    }

    /** Shown by the server's info endpoint: tells this provider from others that took the same id. */
    @Override
    public Map<String, String> getOperationalInfo() {
        return Map.of("implementation", "stetl-keycloak-bcrypt", "longPasswords", "cut at 72 bytes");
    }

    @Override
    public void init(Config.Scope config) {
        // nothing to configure
    }

    @Override
    public void postInit(KeycloakSessionFactory factory) {
        // needs no other provider
    }

    @Override
    public void close() {
        // holds nothing
    }
}
