package io.github.stetl.keycloak.bulk;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;

import org.keycloak.Config;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakSessionFactory;
import org.keycloak.models.RealmModel;
import org.keycloak.provider.EnvironmentDependentProviderFactory;
import org.keycloak.services.resources.admin.AdminEventBuilder;
import org.keycloak.services.resources.admin.ext.AdminRealmResourceProvider;
import org.keycloak.services.resources.admin.ext.AdminRealmResourceProviderFactory;

/** Adds {@code /admin/realms/REALM/stetl} to the admin API: accounts written and read many at a time. */
public final class BulkResourceProviderFactory
        implements AdminRealmResourceProviderFactory, EnvironmentDependentProviderFactory {

    public static final String ID = "stetl";

    @Override
    public String getId() {
        return ID;
    }

    /**
     * A proxy, because servers before 26.2 have the type of one parameter in another package: a class that implements
     * the method for one of them does not implement it for the other.
     */
    @Override
    public AdminRealmResourceProvider create(KeycloakSession session) {
        return (AdminRealmResourceProvider) Proxy.newProxyInstance(
                getClass().getClassLoader(), new Class<?>[] {AdminRealmResourceProvider.class}, new Handler());
    }

    private static final class Handler implements InvocationHandler {

        @Override
        public Object invoke(Object self, Method method, Object[] arguments) {
            String name = method.getName();
            if (name.equals("getResource")) {
                return resource(method, arguments);
            }
            if (name.equals("hashCode")) {
                return System.identityHashCode(self);
            }
            if (name.equals("equals")) {
                return self == arguments[0];
            }
            if (name.equals("toString")) {
                return ID;
            }
            return null; // of close, which has nothing to do
        }
    }

    /** Servers before 26 lack some of what is called here; callers do without. */
    @Override
    public boolean isSupported(Config.Scope config) {
        try {
            Class.forName("org.keycloak.models.GroupModel$Type", false, getClass().getClassLoader());
            return true;
        } catch (ClassNotFoundException e) {
            return false;
        }
    }

    private static BulkResource resource(Method method, Object[] arguments) {
        Permissions permissions = new Permissions(method.getParameterTypes()[2], arguments[2]);
        return new BulkResource(
                (KeycloakSession) arguments[0], (RealmModel) arguments[1], permissions, (AdminEventBuilder) arguments[3]);
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
