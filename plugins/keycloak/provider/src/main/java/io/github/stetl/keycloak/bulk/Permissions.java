package io.github.stetl.keycloak.bulk;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;

/**
 * What the caller may do, as the server's own endpoints ask for it. Called by name, because the types moved to another
 * package in 26.2.
 */
final class Permissions {

    private final Class<?> type;
    private final Object evaluator;

    Permissions(Class<?> type, Object evaluator) {
        this.type = type;
        this.evaluator = evaluator;
    }

    /** Throws the server's 403 where the caller may not import users. */
    void requireImport() {
        require("realm", "requireManageRealm");
    }

    /** Throws the server's 403 where the caller may not see all users. */
    void requireView() {
        require("users", "requireView");
    }

    /** Throws the server's 403 where the caller may not change all users. */
    void requireManage() {
        require("users", "requireManage");
    }

    private void require(String part, String what) {
        try {
            Method of = type.getMethod(part);
            of.getReturnType().getMethod(what).invoke(of.invoke(evaluator));
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof RuntimeException refusal) {
                throw refusal;
            }
            throw new IllegalStateException(e);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("this server's permissions are unknown: " + e.getMessage(), e);
        }
    }
}
