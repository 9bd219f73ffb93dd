package io.github.stetl.keycloak.bulk;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;

import com.fasterxml.jackson.databind.ObjectMapper;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DirectTest {

    private static final String ALL = "{'id':'1','username':'u','email':'e','emailVerified':true,'firstName':'f','lastName':'l','enabled':true,"
            + "'createdTimestamp':1,'attributes':{'any':['x']},'requiredActions':['a'],'realmRoles':['r'],'groups':['/g'],"
            + "'credentials':[{'id':'2','type':'password','userLabel':'l','createdDate':1,'credentialData':'{}','secretData':'{}'},{'type':'otp'}],"
            + "'federatedIdentities':[{'identityProvider':'a','userId':'1','userName':'n'},{'identityProvider':'b'}]}";

    /** What is left out of a user, and what is put in its place. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '"', value = {
        "'a' | 'a' | true",
        "'groups' | 'clientConsents' | false",
        "'createdTimestamp':1 | 'createdTimestamp':null | false",
        "'createdTimestamp':1, | \"\" | false",
        "'type':'otp' | 'type':'password' | false",
        "'type':'otp' | 'type':null | false",
        "'userLabel' | 'value' | false",
        "'identityProvider':'b' | 'identityProvider':'a' | false",
        "'userName' | 'token' | false",
    })
    void coversWhatItKnows(String part, String instead, boolean covered) throws IOException {
        String user = ALL.replace(part, instead).replace('\'', '"');
        assertEquals(covered, Direct.covers(new ObjectMapper().readTree(user)), user);
    }
}
